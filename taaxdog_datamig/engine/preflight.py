"""Before anything is changed: is this a database, and are these tables, that the run can change safely?"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg

from taaxdog_datamig.archive import check_format
from taaxdog_datamig.errors import KeyMissing, KeyWrong, PreflightFailed, ServerRefused
from taaxdog_datamig.pg.catalog import hangers, heirs, old_transactions
from taaxdog_datamig.pg.database import MINIMUM_SERVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.crypto import Keyring
    from taaxdog_datamig.engine.reports import Plan
    from taaxdog_datamig.ledger import Ledger
    from taaxdog_datamig.migration import DeclaredMigration, Target
    from taaxdog_datamig.pg.catalog import Relation
    from taaxdog_datamig.pg.database import Database
    from taaxdog_datamig.settings import Settings

#: A transaction older than this stops pruning, and is worth a word. Seconds.
OLD_TRANSACTION = 60.0
_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence", "c": "a type"}


def check_server(db: Database) -> None:
    """Whether rows can be changed on this server at all.

    Raises:
        PreflightFailed: a standby, a read-only server or one too old.
    """
    if db.server.in_recovery:
        raise PreflightFailed("this server is a standby; it takes no changes", "Connect to the primary")
    if db.server.read_only:
        raise PreflightFailed(
            "transactions are read-only here (default_transaction_read_only)",
            "Connect as a role, or to a server, that may write",
        )
    if db.server.version < MINIMUM_SERVER:
        raise PreflightFailed(
            f"this is PostgreSQL {db.server.version}; {MINIMUM_SERVER} or newer is needed",
            "Upgrade the server",
        )


def check_relation(target: Target) -> None:
    """Whether the table's rows can be read, named and changed.

    Raises:
        PreflightFailed: not a table, no key, no privilege, or hidden rows.
    """
    relation = target.table.relation
    if relation.kind not in {"r", "p"}:
        raise PreflightFailed(
            f"{relation.label} is {_KINDS.get(relation.kind, 'not a table')}",
            f"Name the table behind it: [profile.tables.{target.shape.table}] names = [...] in datamig.toml",
        )
    if not relation.key:
        raise PreflightFailed(
            f"table {relation.label} has no primary key, nor a unique index over NOT NULL columns",
            "Rows could not be named, compared or restored: add a primary key first",
        )
    _check_privileges(relation, target)
    if relation.policed:
        raise PreflightFailed(
            f"row-level security would hide rows of {relation.label} from this role",
            "Run as a role with BYPASSRLS, or as the owner of a table without FORCE ROW LEVEL SECURITY",
        )


def _check_privileges(relation: Relation, target: Target) -> None:
    closure = target.closure
    deleted = [node.table.relation for node in closure.nodes.values()] if closure else []
    deleted += [kin.table.relation for kin in target.merge.kin.values()] if target.merge else []
    cut = [table.relation for table in closure.cut.values()] if closure else []
    for other in (*deleted, *cut):
        if not (other.may_select and other.may_update and (other.may_delete or other not in deleted)):
            raise PreflightFailed(
                f"the role may not read, update and delete rows of {other.label}",
                f"GRANT SELECT, UPDATE, DELETE ON {other.quoted} to it",
            )
        if other.policed:
            raise PreflightFailed(
                f"row-level security would hide rows of {other.label} from this role",
                "Run as a role with BYPASSRLS, or as the owner of a table without FORCE ROW LEVEL SECURITY",
            )
    if not (relation.may_select and relation.may_update):
        raise PreflightFailed(
            f"the role may not read and update {relation.label}",
            f"GRANT SELECT, UPDATE ON {relation.quoted} to it",
        )
    if target.ddl and not relation.owned:
        raise PreflightFailed(
            f"{relation.label} has columns that are too narrow, and the role may not alter it",
            f"Run as the table's owner, or have the owner do it first: {'; '.join(d.do for d in target.ddl)}",
        )


async def check_targets(
    db: Database, migration: DeclaredMigration, targets: Sequence[Target], keyring: Keyring | None
) -> None:
    """Everything about the tables that must hold before the run.

    Raises:
        PreflightFailed: see the checks above; also a dependent object, or a unique index that would lose
            its meaning.
        KeyMissing: before-images would hold sensitive values, and there is no key to seal them.
    """
    check_server(db)
    allowed = db.settings.allow_unique_index_loss
    async with db.acquire() as connection:
        for target in targets:
            check_relation(target)
            relation = target.table.relation
            if children := await heirs(connection, relation.oid):
                raise PreflightFailed(
                    f"{', '.join(children)} inherits from {relation.label}: its rows would stay as they are",
                    "Make it a partition, or end the inheritance (ALTER TABLE ... NO INHERIT)",
                )
            names = [field.column for field in target.shape.columns]
            hanging = await hangers(connection, relation.oid, names)
            if target.ddl and hanging.dependents:
                raise PreflightFailed(
                    f"{', '.join(hanging.dependents)} depends on columns of {relation.label}, "
                    "which must be widened",
                    "Drop it, run the migration, and create it again",
                )
            if target.breaks_unique and hanging.unique_indexes and not allowed:
                raise PreflightFailed(
                    f"unique index {', '.join(hanging.unique_indexes)} is on sensitive columns of "
                    f"{relation.label}: sealed values all differ, so it would keep nothing unique",
                    "Drop the index first, or set allow_unique_index_loss = true in datamig.toml",
                )
    if keyring is None and any(target.sensitive for target in targets):
        raise KeyMissing(
            f"{migration.name} changes sensitive columns: there is no key to seal their old values with",
            "Set FIELD_ENCRYPTION_KEY (or _FILE); `datamig keys generate` makes one",
        )


async def check_keys(connection: PoolConnectionProxy[Any], ledger: Ledger, keyring: Keyring | None) -> None:
    """Whether the keys given are those this database was sealed with.

    Raises:
        KeyWrong: a key that was used here is missing, or another one goes by its id.
    """
    if keyring is None:
        return
    for kid, canary in (await ledger.canaries(connection)).items():
        if kid not in keyring.kids:
            raise KeyWrong(
                f"this database was sealed with key {kid}; configured are {', '.join(keyring.kids)}",
                "Give the right key. To change keys, list both in FIELD_ENCRYPTION_KEYS, the new one first",
            )
        if not keyring.opens_canary(kid, canary):
            raise KeyWrong(f"key {kid} is not the one that this database was sealed with under that id")


async def check_room(connection: PoolConnectionProxy[Any], plan: Plan) -> str | None:
    """A warning when the server's disk, where we can see it, has too little room for the run."""
    try:
        folder = Path(await connection.fetchval("SELECT current_setting('data_directory')"))
        if not await connection.fetchval(
            "SELECT inet_server_addr() IS NULL OR inet_server_addr() <<= '127.0.0.0/8'"
        ):
            return None
        free = shutil.disk_usage(folder).free
    except (asyncpg.PostgresError, OSError):  # not ours to see
        return None
    needed = plan.growth_bytes + plan.wal_bytes
    if free < needed:
        raise ServerRefused(
            f"the run needs about {needed >> 20:,} MiB on the server's disk, {free >> 20:,} MiB are free",
            "Free space first",
        )
    return None


def check_archive(settings: Settings, targets: Sequence[Target], keyring: Keyring | None) -> str | None:
    """A warning when what is deleted goes into an archive that nothing seals.

    Raises:
        PreflightFailed: archives cannot be written, or would not tell two tables apart.
    """
    deleting = [target for target in targets if target.action != "update"]
    if not deleting:
        return None
    check_format(settings.archive_format)
    folder = settings.archive_dir.absolute()
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise PreflightFailed(
            f"deleted rows go into an archive first, and {place} is no folder that can be written to",
            "Name another folder: archive_dir in datamig.toml, or ARCHIVE_DIR",
        )
    relations: dict[str, str] = {}
    for target in deleting:
        for node in target.closure.nodes.values() if target.closure else ():
            name, relation = node.shape.table, node.shape.relation
            if relations.setdefault(name, relation) != relation:
                raise PreflightFailed(
                    f"{relations[name]} and {relation} would both be {name} in an archive",
                    f"Give one of them another name: [profile.tables.NAME] names = [{relation!r}]",
                )
    if keyring is not None:
        return None
    return (
        f"the archive in {folder} is compressed but not sealed, since no key is configured: "
        "who can read the folder can read the rows"
    )


async def old_transaction_warning(connection: PoolConnectionProxy[Any]) -> str | None:
    """A warning when a transaction keeps dead rows from being pruned."""
    if not (found := await old_transactions(connection, OLD_TRANSACTION)):
        return None
    pid, seconds = found[0]
    return (
        f"backend {pid} has had a transaction open for {seconds:.0f} s: dead rows cannot be pruned while it "
        "lasts, so the table grows more and the run is slower"
    )
