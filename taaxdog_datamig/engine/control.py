"""Looking at runs, and steering them, from any terminal."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import orjson

from taaxdog_datamig.engine.keeping import instead
from taaxdog_datamig.engine.reports import QuarantineRecord, RunRecord
from taaxdog_datamig.errors import UnknownName, UsageError
from taaxdog_datamig.ledger import UNFINISHED, Ledger, actor, installed_version
from taaxdog_datamig.pg.transactions import transaction
from taaxdog_datamig.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Literal

    import asyncpg

    from taaxdog_datamig.pg.database import Database

_HINT = "`datamig history` lists the runs"


async def find(db: Database, ref: str) -> asyncpg.Record:
    """The run of that id, beginning of an id, or the latest of a migration.

    Raises:
        UnknownName: there is none, or several.
    """
    ledger = Ledger.of()
    async with db.acquire() as connection:
        if not await installed_version(connection):
            raise UnknownName(f"there is no run {ref!r}: no migration has run on this database")
        found: list[asyncpg.Record] = []
        try:
            found = await ledger.runs.find(connection, run_id=uuid.UUID(ref))
        except ValueError:
            found = await ledger.runs.find(connection, migration=ref, limit=1)
            if not found and len(ref) >= 4 and set(ref) <= set("0123456789abcdef-"):  # noqa: PLR2004
                ids = await ledger.runs.find_ids(connection, ref)
                if len(ids) > 1:
                    raise UnknownName(f"several runs begin with {ref!r}", _HINT) from None
                found = await ledger.runs.find(connection, run_id=ids[0]) if ids else []
        near = "" if found else did_you_mean(ref, await ledger.runs.migrations(connection))
    if not found:
        raise UnknownName(f"there is no run {ref!r}", near or _HINT)
    return found[0]


async def status(db: Database, ref: str | None) -> list[RunRecord]:
    """One run, or the unfinished ones and the latest."""
    if ref is not None:
        return [described(await find(db, ref))]
    ledger = Ledger.of()
    async with db.acquire() as connection:
        if not await installed_version(connection):
            return []
        unfinished = await ledger.runs.find(connection, status=UNFINISHED)
        return [described(row) for row in unfinished or await ledger.runs.find(connection, limit=1)]


async def history(db: Database, limit: int, *, failed: bool) -> list[RunRecord]:
    """Runs, newest first."""
    if limit < 1:
        raise UsageError(f"--limit {limit}: at least one")
    async with db.acquire() as connection:
        if not await installed_version(connection):
            return []
        wanted = ["failed", "rolled_back", "rolling_back"] if failed else None
        return [described(row) for row in await Ledger.of().runs.find(connection, status=wanted, limit=limit)]


async def request(db: Database, ref: str, what: Literal["pause", "cancel"]) -> RunRecord:
    """Ask for something between two chunks. A run that nobody works on is paused at once.

    Raises:
        UsageError: the run is finished.
    """
    record = await find(db, ref)
    if record["status"] not in UNFINISHED:
        raise UsageError(
            f"run {record['id']} has ended ({record['status'].replace('_', ' ')}): there is nothing to {what}"
        )
    if record["status"] == "rolling_back":
        raise UsageError(f"run {record['id']} is being rolled back", "Let it end, or interrupt its process")
    ledger = Ledger.of()
    async with db.acquire() as connection, transaction(connection):
        if record["alive"]:
            await ledger.runs.request(connection, record["id"], what)
        elif what == "cancel" and record["tasks"]:  # maintenance has nothing that could be rolled back
            await ledger.runs.set_status(connection, record["id"], "failed", "the run was cancelled")
        else:
            await ledger.runs.set_status(connection, record["id"], "paused", record["error"])
        await ledger.audit.append(
            connection, f"{what}-requested", record["id"], {"actor": actor(db.server.role)}
        )
        return described((await ledger.runs.find(connection, run_id=record["id"]))[0])


async def quarantine(db: Database, ref: str, limit: int) -> list[QuarantineRecord]:
    """Rows that a run refused."""
    record = await find(db, ref)
    async with db.acquire() as connection:
        rows = await Ledger.of().work.quarantine(connection, record["id"], limit)
    return [
        QuarantineRecord(
            table=row["tablename"],
            key=tuple(row["key"]),
            code=row["code"],
            reason=row["reason"],
            at=row["at"],
            left=row["left_alone"],
        )
        for row in rows
    ]


async def verify_audit(db: Database) -> tuple[int, int | None]:
    """How many entries the audit trail has, and the number of the first that does not fit, or None."""
    ledger = Ledger.of()
    async with db.acquire() as connection:
        if not await installed_version(connection):
            return 0, None
        broken = await ledger.audit.verify(connection)
        return await ledger.audit.count(connection), broken


async def audit_lines(db: Database, ref: str | None) -> AsyncIterator[str]:
    """The audit trail as lines of JSON; of one run alone, if one is named.

    Raises:
        UnknownName: there is no such run, or several.
    """
    run_id = None if ref is None else (await find(db, ref))["id"]
    async with db.acquire() as connection:
        if not await installed_version(connection):
            return
        async for row in Ledger.of().audit.entries(connection):
            if run_id is None or row["run_id"] == run_id:
                yield orjson.dumps(
                    {
                        "seq": row["seq"],
                        "event": row["event"],
                        "run_id": None if row["run_id"] is None else str(row["run_id"]),
                        # As it was hashed, so that whoever has the lines can walk the chain.
                        "entry": row["entry"],
                        "previous": row["previous"].hex(),
                        "hash": row["hash"].hex(),
                    }
                ).decode()


def described(row: asyncpg.Record) -> RunRecord:
    """A row of the ledger as callers see it."""
    working, most = (row["alive"] and row["workers"]) or (None, None)
    return RunRecord(
        run_id=str(row["id"]),
        migration=row["migration"],
        version=row["version"],
        status=row["status"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        affected_rows=row["changed"] - row["restored"],
        estimated_rows=row["estimated_rows"],
        quarantined_rows=row["quarantined"],
        error=row["error"],
        rollback=_rollback(row),
        backup_id=row["backup_id"],
        actor=orjson.loads(row["actor"]),
        control=row["control"],
        owner=row["owner"],
        alive=row["alive"],
        waiting=row["waiting"],
        workers=working,
        most_workers=most,
    )


def _rollback(row: asyncpg.Record) -> str:
    """Where the rollback data are, or what became of them."""
    if row["status"] == "rolled_back":
        kept = f", {row['kept']} left alone" if row["kept"] else ""
        return f"rolled back: {row['restored']} rows restored{kept}"
    if not row["changed"]:
        return "nothing to roll back"
    seal = f"sealed under key {row['kid']}" if row["kid"] else "compressed, not sealed"
    targets = orjson.loads(row["targets"])
    if targets and (code := targets[0].get("code")) is not None:
        if not code["reversible"]:
            return f"not available: the migration is not reversible. {instead(row['backup_id'])}"
        return f"by down() of {row['migration']}: rollback data of {row['images']} chunks, {seal}"
    if not row["images"]:
        return f"not available: the before-images were purged. {instead(row['backup_id'])}"
    return f"datamig.before_images of run {row['id']}: {row['images']} chunks, {seal}"
