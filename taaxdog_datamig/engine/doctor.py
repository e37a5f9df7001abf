"""Is everything as it should be? Environment, server, privileges, keys, schema, each with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from taaxdog_datamig.crypto import Keyring
from taaxdog_datamig.engine.preflight import check_keys, check_server, old_transaction_warning
from taaxdog_datamig.errors import DatamigError
from taaxdog_datamig.ledger import Ledger, installed_version
from taaxdog_datamig.pg.database import Database
from taaxdog_datamig.profile import FittedProfile, Profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taaxdog_datamig.settings import Settings

#: A profile that finds less than this share of its tables was made for another database.
_STRANGE = 0.5


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    status: Literal["ok", "warning", "problem"]
    detail: str
    #: What to do about it; empty when it is ok.
    todo: str = ""

    @classmethod
    def of(cls, name: str, error: DatamigError) -> Finding:
        """An error as a problem."""
        return cls(name=name, status="problem", detail=error.what, todo=error.todo)


async def examine(settings: Settings) -> list[Finding]:
    """Look at everything. Never raises for what it finds: an unreachable server is a finding, too."""
    findings = [*_examine_keys(settings)]
    try:
        async with Database.connect(settings=settings) as db:
            findings.append(
                Finding(
                    name="server",
                    status="ok",
                    detail=f"PostgreSQL {db.server.version}, database {db.server.database}, "
                    f"role {db.server.role}",
                )
            )
            findings += await _examine_database(db)
    except DatamigError as error:
        findings.append(Finding.of("server", error))
    return findings


def _examine_keys(settings: Settings) -> Iterator[Finding]:
    try:
        keyring = Keyring.from_settings(settings)
    except DatamigError as error:
        yield Finding.of("keys", error)
        return
    if keyring is None:
        yield Finding(
            name="keys",
            status="warning",
            detail="no encryption key is configured: migrations of sensitive columns are refused",
            todo="Make one with `datamig keys generate` and set FIELD_ENCRYPTION_KEY (or _FILE)",
        )
    else:
        detail = f"primary key {keyring.primary.kid}"
        others = ", ".join(keyring.kids[1:])
        yield Finding(name="keys", status="ok", detail=detail + (f", also {others}" if others else ""))


async def _examine_database(db: Database) -> list[Finding]:
    findings = []
    try:
        check_server(db)
        findings.append(Finding(name="writable", status="ok", detail="rows can be changed here"))
    except DatamigError as error:
        findings.append(Finding.of("writable", error))
    return [
        *findings,
        await _examine_ledger(db),
        *await _examine_audit(db),
        *await _examine_schema(db),
        await _examine_transactions(db),
    ]


async def _examine_ledger(db: Database) -> Finding:
    keyring = _usable_keyring(db.settings)
    async with db.acquire() as connection:
        try:
            version = await installed_version(connection)
        except DatamigError as error:
            return Finding.of("ledger", error)
        if not version:
            may = await connection.fetchval("SELECT has_database_privilege(current_database(), 'CREATE')")
            if may:
                return Finding(
                    name="ledger", status="ok", detail="not there yet; the first run creates schema datamig"
                )
            return Finding(
                name="ledger",
                status="problem",
                detail=f"role {db.server.role} may not create schema datamig",
                todo=f"GRANT CREATE ON DATABASE {db.server.database} TO {db.server.role}",
            )
        try:
            await check_keys(connection, Ledger.of(), keyring)
        except DatamigError as error:
            return Finding.of("ledger", error)
    fit = "; the keys fit it" if keyring else ""
    return Finding(name="ledger", status="ok", detail=f"schema datamig, version {version}{fit}")


async def _examine_audit(db: Database) -> list[Finding]:
    """Nothing where there is no ledger to use: that is a finding already."""
    async with db.acquire() as connection:
        try:
            if not await installed_version(connection):
                return []
        except DatamigError:
            return []
        broken = await Ledger.of().audit.verify(connection)
    if broken is None:
        return [Finding(name="audit", status="ok", detail="the chain of entries is whole")]
    return [
        Finding(
            name="audit",
            status="problem",
            detail=f"entry {broken:,} of the audit trail was changed, taken away or put in",
            todo="Somebody wrote to datamig.audit by hand: find out who, and keep the table as it is",
        )
    ]


def _usable_keyring(settings: Settings) -> Keyring | None:
    """The keys, or None where `_examine_keys` has told already what is wrong with them."""
    try:
        return Keyring.from_settings(settings)
    except DatamigError:
        return None


async def _examine_schema(db: Database) -> list[Finding]:
    try:
        profile = Profile.load(db.settings.profile)
    except DatamigError as error:
        return [Finding.of("schema", error)]
    async with db.acquire() as connection:
        fitted = await FittedProfile.fit(connection, profile)
    found, known = len(fitted.tables), len(profile.tables)
    missing = ", ".join(fitted.missing)
    if found < _STRANGE * known:
        todo = "Is this the right database? Names of your own go in [profile] of datamig.toml"
        detail = f"{found} of {known} tables of the profile are here"
        return [
            Finding(name="schema", status="problem" if not found else "warning", detail=detail, todo=todo)
        ]
    findings = [
        Finding(
            name="schema",
            status="warning" if missing else "ok",
            detail=f"{found} of {known} tables of the profile are here"
            + (f"; missing: {missing}" if missing else ""),
            todo="Migrations leave out what is missing; other names go in [profile] of datamig.toml"
            if missing
            else "",
        )
    ]
    denied = [
        table.relation.label
        for table in fitted.tables.values()
        if table.sensitive and not (table.relation.may_select and table.relation.may_update)
    ]
    if denied:
        findings.append(
            Finding(
                name="privileges",
                status="problem",
                detail=f"role {db.server.role} may not read and update {', '.join(denied)}",
                todo=f"GRANT SELECT, UPDATE ON {', '.join(denied)} TO {db.server.role}",
            )
        )
    else:
        findings.append(
            Finding(name="privileges", status="ok", detail="sensitive tables can be read and updated")
        )
    return findings


async def _examine_transactions(db: Database) -> Finding:
    async with db.acquire() as connection:
        warning = await old_transaction_warning(connection)
    if warning is None:
        return Finding(name="transactions", status="ok", detail="none is old enough to stop pruning")
    return Finding(
        name="transactions", status="warning", detail=warning, todo="End it, or wait, before a large run"
    )
