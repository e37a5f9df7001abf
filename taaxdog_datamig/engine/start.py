"""Beginning a run, or taking over one that a killed or paused process has left."""

from __future__ import annotations

import contextlib
import functools
import time
import uuid
from typing import TYPE_CHECKING, Any

import anyio
import asyncpg
import attrs
import orjson

from taaxdog_datamig import failpoints
from taaxdog_datamig.archive import ArchiveWriter
from taaxdog_datamig.archive.reader import wrap_context
from taaxdog_datamig.crypto import BlobSealer, new_data_key
from taaxdog_datamig.engine.identity import judge
from taaxdog_datamig.engine.job import Job
from taaxdog_datamig.engine.keeping import instead
from taaxdog_datamig.errors import KeyMissing, LeaseHeld, PlanDrift, PreflightFailed, RefusedError
from taaxdog_datamig.events import Waiting
from taaxdog_datamig.ledger import UNFINISHED, Ledger, NewRun, actor, install_temporary, owner_is_dead
from taaxdog_datamig.migration import Ddl, arguments_of
from taaxdog_datamig.pg.quoting import ident
from taaxdog_datamig.pg.rows import Shape
from taaxdog_datamig.pg.transactions import transaction
from taaxdog_datamig.throttle import ChunkSize

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.crypto import Keyring
    from taaxdog_datamig.engine.reports import Plan, RunOptions
    from taaxdog_datamig.engine.rollback import Restore
    from taaxdog_datamig.events import EventBus
    from taaxdog_datamig.ledger import ArchivePart
    from taaxdog_datamig.migration import BaseMigration, Target
    from taaxdog_datamig.pg.database import Database
    from taaxdog_datamig.profile import FittedTable
    from taaxdog_datamig.validation.extent import Extent


#: How often it is asked whether a killed process's session has ended, seconds. Most end in milliseconds.
_SESSION_POLL = 0.05


@attrs.frozen(kw_only=True)
class Proposal:
    """A run that passed its checks and may begin."""

    db: Database
    migration: BaseMigration
    #: None where the migration has code of its own.
    targets: Sequence[Target]
    plan: Plan
    options: RunOptions
    events: EventBus
    #: Further tables of its own.
    claims: Sequence[FittedTable] = ()
    #: The way back by the migration's own code, and whether there is any.
    restore: Restore | None = None
    reversible: bool = True
    #: What validation looks at; None: nothing.
    extent: Extent | None = None

    @property
    def keyring(self) -> Keyring | None:
        """The keys it works with."""
        return self.migration.context.keyring

    @property
    def relations(self) -> list[str]:
        """Its tables, quoted."""
        tables = [*(target.table for target in self.targets), *self.claims]
        return [table.relation.quoted for table in tables]

    @property
    def touched(self) -> frozenset[str] | None:
        """Labels of the tables whose rows may change; None: any, since its code names none."""
        if self.restore is not None and not self.claims:
            return None
        reached = [table for target in self.targets for table in target.reached]
        return frozenset(table.relation.label for table in (*reached, *self.claims))

    @property
    def shapes(self) -> list[Shape]:
        """What its chunks are counted under."""
        return [target.shape for target in self.targets] or [_code_shape(self.migration.name)]

    @property
    def stored(self) -> list[dict[str, Any]]:
        """Its targets, for the ledger."""
        if self.restore is not None:
            code = {"reversible": self.reversible}
            return [{"shape": shape.to_json(), "ddl": [], "code": code} for shape in self.shapes]
        # In the order of the plan's tables; how many rows are expected is for whoever watches.
        pending = [table.pending_rows for table in self.plan.tables]
        return [
            {
                "shape": target.shape.to_json(),
                "ddl": [attrs.asdict(ddl) for ddl in target.ddl],
                "pending": rows,
            }
            for target, rows in zip(self.targets, pending, strict=True)
        ]

    @property
    def ddl(self) -> tuple[Ddl, ...]:
        """Definitions to be changed before the rows."""
        return tuple(ddl for target in self.targets for ddl in target.ddl)


@attrs.frozen(kw_only=True)
class Started:
    """A run that this process may work on."""

    job: Job
    ddl: tuple[Ddl, ...]
    ddl_done: bool
    resumed: bool
    #: Rows expected when the run began.
    estimated_rows: int
    #: The way back, where it is not by before-images; and whether there is any.
    restore: Restore | None = None
    reversible: bool = True
    #: What validation looks at; None: nothing.
    extent: Extent | None = None
    #: Labels of the tables whose rows may change; None: any.
    touched: frozenset[str] | None = None


def _code_shape(name: str) -> Shape:
    """Stands for whatever the migration's own code changes."""
    return Shape(table=name, relation=ident(name), key=(), columns=())


async def await_session_end(db: Database, events: EventBus, migration: str) -> None:
    """After a kill on this host: wait until the server has noticed, for as long as the lease can last."""
    ledger = Ledger.of()
    deadline = time.monotonic() + db.settings.lease_seconds
    while time.monotonic() < deadline:
        async with db.acquire() as connection:
            left = await ledger.runs.find(connection, migration=migration, status=UNFINISHED, limit=1)
        if not left or not left[0]["alive"] or not owner_is_dead(left[0]["owner"]):
            return
        events.emit(
            Waiting(reason="the session of the killed process has not ended yet", seconds=_SESSION_POLL)
        )
        await anyio.sleep(_SESSION_POLL)


def refuse_alive(record: asyncpg.Record) -> None:
    """Refuse a run that a live process works on.

    Raises:
        LeaseHeld: with who holds it.
    """
    if record["alive"]:
        raise LeaseHeld(
            f"{record['migration']} is already being run: run {record['id']} by {record['owner']}",
            f"Watch it with `datamig status {record['id']}`; `datamig pause {record['id']}` stops it",
        )


async def start(proposal: Proposal) -> Started:
    """Record a new run and take its lease, or take over the unfinished one of this migration.

    Raises:
        LeaseHeld: a live process works on it, or another run on one of its tables is unfinished.
        PlanDrift: the tables of the unfinished run are not those of the migration any more.
    """
    db, keyring, ledger = proposal.db, proposal.keyring, Ledger.of()
    async with db.acquire() as connection, transaction(connection):
        await connection.execute("SET LOCAL lock_timeout = '10s'")
        await ledger.runs.lock(connection)
        record = await _unfinished(connection, ledger, proposal)
        if record is None:
            new, data_key = _new_run(proposal)
            run_id, master, ddl = new.id, new.kid, proposal.ddl
            shapes = proposal.shapes
            await ledger.runs.add(connection, new)
            if keyring is not None:
                kid = keyring.primary.kid
                await ledger.add_canary(connection, kid, keyring.canary(kid))
            entry = {
                "migration": new.migration,
                "actor": new.actor,
                "estimated_rows": new.estimated_rows,
            }
            await ledger.audit.append(connection, "run-started", run_id, entry)
        else:
            run_id = record["id"]
            check_arguments(proposal.migration, record)
            data_key, _ = open_data_key(record, keyring)
            master = record["kid"]
            shapes, ddl = stored_targets(record)
            if proposal.restore is None:
                proposal = attrs.evolve(proposal, targets=_matched(proposal.targets, shapes, run_id))
            await ledger.runs.reopen(connection, run_id, "running")
            await ledger.audit.append(connection, "run-resumed", run_id, {"actor": actor(db.server.role)})
        job = await _lease(connection, proposal, run_id, data_key, master, shapes)
    job.tell("running")
    failpoints.hit("after-begin-run")
    job.backup_id = None if record is None else record["backup_id"]
    done = record is not None and record["ddl_done"]
    return Started(
        job=job,
        ddl=ddl,
        ddl_done=done,
        resumed=record is not None,
        estimated_rows=proposal.plan.pending_rows if record is None else record["estimated_rows"],
        restore=proposal.restore,
        reversible=proposal.reversible,
        extent=proposal.extent,
        touched=proposal.touched,
    )


async def retake(proposal: Proposal, record: asyncpg.Record) -> Job:
    """Take the lease of a run that is over, or paused, to do its refused rows again.

    Raises:
        LeaseHeld: a live process works on it, or another run on one of its tables is unfinished.
        PlanDrift: the tables of the run are not those of the migration any more.
    """
    db, ledger, run_id = proposal.db, Ledger.of(), record["id"]
    async with db.acquire() as connection, transaction(connection):
        await connection.execute("SET LOCAL lock_timeout = '10s'")
        await ledger.runs.lock(connection)
        (now,) = await ledger.runs.find(connection, run_id=run_id)
        refuse_alive(now)
        await refuse_others(connection, ledger, record)
        data_key, _ = open_data_key(record, proposal.keyring)
        shapes, _ = stored_targets(record)
        proposal = attrs.evolve(proposal, targets=_matched(proposal.targets, shapes, run_id))
        await ledger.runs.retry(connection, run_id)
        entry = {"actor": actor(db.server.role), "rows": now["quarantined"]}
        await ledger.audit.append(connection, "retry-started", run_id, entry)
        job = await _lease(connection, proposal, run_id, data_key, record["kid"], shapes)
    failpoints.hit("after-begin-run")
    job.backup_id = record["backup_id"]
    return job


async def refuse_others(connection: PoolConnectionProxy[Any], ledger: Ledger, record: asyncpg.Record) -> None:
    """Refuse while another run works on a run's tables.

    Raises:
        LeaseHeld: with what to do about it.
    """
    for other in await ledger.runs.overlapping(connection, record["migration"], record["relations"]):
        if other != record["id"]:
            raise LeaseHeld(
                f"run {other} works on the same tables and is unfinished",
                f"Finish it (`datamig resume {other}`) or undo it (`datamig rollback {other}`) first",
            )


async def _lease(
    connection: PoolConnectionProxy[Any],
    proposal: Proposal,
    run_id: uuid.UUID,
    data_key: bytes,
    master: str | None,
    shapes: Sequence[Shape],
) -> Job:
    """Take the lease, inside the transaction that decides who works on the run."""
    ledger = Ledger.of()
    sealer = BlobSealer(None if master is None else data_key)
    archive: ArchiveWriter | None = None
    if any(target.action != "update" for target in proposal.targets):
        archive = _archive(proposal, run_id, sealer, master)
        _check_parts(archive, await ledger.work.archive_parts(connection, run_id))
    db = proposal.db
    epoch = await ledger.runs.take(connection, run_id, db.settings.lease_seconds, pooled=db.pooled)
    job = _job(proposal, ledger, run_id, epoch=epoch, data_key=data_key, sealer=sealer, shapes=shapes)
    job.archive = archive
    job.quarantined = await ledger.work.count_quarantine(connection, run_id)
    return job


def _archive(proposal: Proposal, run_id: uuid.UUID, sealer: BlobSealer, kid: str | None) -> ArchiveWriter:
    settings = proposal.db.settings
    writer = ArchiveWriter(
        folder=settings.archive_dir.absolute(), run_id=run_id, sealer=sealer, form=settings.archive_format
    )
    if kid is None or proposal.keyring is None:
        return writer
    return attrs.evolve(writer, sign=functools.partial(proposal.keyring.sign, kid))


def _check_parts(archive: ArchiveWriter, parts: Sequence[ArchivePart]) -> None:
    """Before a run goes on: what it has archived must still be there."""
    if gone := archive.missing(parts):
        raise PreflightFailed(
            f"part {gone[0]} of the archive that run {archive.run_id} has begun is not in {archive.path}",
            "Set archive_dir (ARCHIVE_DIR) as it was, or move the folder there; `datamig rollback "
            f"{archive.run_id}` undoes the run without it",
        )


@contextlib.asynccontextmanager
async def start_dry(proposal: Proposal) -> AsyncIterator[Started]:
    """A run with a ledger in temporary tables, which ends with its session and leaves nothing behind."""
    db, ledger = proposal.db, Ledger.of("pg_temp")
    async with db.acquire() as connection:
        outer = connection.transaction()
        try:
            if db.pooled:  # the ledger's tables are there as long as the session is ours: for a transaction
                await outer.start()
                await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await install_temporary(connection)
            new, data_key = _new_run(proposal)
            await ledger.runs.add(connection, new)
            epoch = await ledger.runs.take(connection, new.id, db.settings.lease_seconds)
            job = _job(
                proposal,
                ledger,
                new.id,
                epoch=epoch,
                data_key=data_key,
                sealer=BlobSealer(data_key),
                shapes=proposal.shapes,
                session=connection,
            )
            yield Started(
                job=job,
                ddl=proposal.ddl,
                ddl_done=False,
                resumed=False,
                estimated_rows=proposal.plan.pending_rows,
                extent=proposal.extent,
            )
        finally:
            # Now, and not whenever the server notices that the session is gone: who asks after a dry run
            # must find nothing of it. A session that cannot any more takes its tables with it.
            with (
                anyio.move_on_after(5, shield=True),
                contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError),
            ):
                if db.pooled:
                    await outer.rollback()
                else:
                    await connection.execute("DISCARD TEMP")
            connection.terminate()


def _job(
    proposal: Proposal, ledger: Ledger, run_id: uuid.UUID, *, shapes: Sequence[Shape], **rest: Any
) -> Job:
    size = ChunkSize(target=proposal.db.settings.chunk_seconds, fixed=proposal.options.batch_size)
    if proposal.targets and all(
        target.closure is not None and target.closure.simple for target in proposal.targets
    ):
        # Deleting a row that nothing refers to costs a tenth of an update with its index entries.
        size = attrs.evolve(size, rows=10 * size.rows, most=5 * size.most)
    return Job(
        db=proposal.db,
        ledger=ledger,
        run_id=run_id,
        shapes=tuple(shapes),
        targets=tuple(proposal.targets),
        judges=tuple(judge(proposal.migration, target) for target in proposal.targets),
        options=proposal.options,
        events=proposal.events,
        size=size,
        **rest,
    )


def open_data_key(record: asyncpg.Record, keyring: Keyring | None) -> tuple[bytes, bool]:
    """The run's data key, and whether its before-images are sealed with it.

    Raises:
        KeyMissing, KeyWrong: the master key that wraps it is not configured.
    """
    if record["data_key"] is None:
        raise RefusedError(
            f"the data key of run {record['id']} was shredded: nothing opens its before-images any more",
            instead(record["backup_id"]),
        )
    if record["kid"] is None:
        return record["data_key"], False
    if keyring is None:
        raise KeyMissing(
            f"the before-images of run {record['id']} are sealed under key {record['kid']}",
            "Set FIELD_ENCRYPTION_KEY (or _FILE) to that key",
        )
    return keyring.unwrap(record["kid"], record["data_key"], wrap_context(record["id"])), True


def stored_targets(record: asyncpg.Record) -> tuple[list[Shape], tuple[Ddl, ...]]:
    """The shapes and definitions of a recorded run."""
    stored = orjson.loads(record["targets"])
    return (
        [Shape.from_json(target["shape"]) for target in stored],
        tuple(Ddl(**ddl) for target in stored for ddl in target["ddl"]),
    )


async def _unfinished(
    connection: PoolConnectionProxy[Any], ledger: Ledger, proposal: Proposal
) -> asyncpg.Record | None:
    name = proposal.migration.name
    for run_id in await ledger.runs.overlapping(connection, name, proposal.relations):
        (record,) = await ledger.runs.find(connection, run_id=run_id, status=UNFINISHED)
        refuse_alive(record)
        if record["migration"] == name:
            return record
        raise LeaseHeld(
            f"run {record['id']} of {record['migration']} works on the same table and is unfinished",
            f"Finish it (`datamig resume {record['id']}`) or undo it (`datamig rollback {record['id']}`)",
        )
    return None


def _new_run(proposal: Proposal) -> tuple[NewRun, bytes]:
    """A new run, and its data key before it is wrapped."""
    run_id, data_key = uuid.uuid4(), new_data_key()
    keyring, options = proposal.keyring, attrs.asdict(proposal.options)
    del options["pinned_plan"]
    # Without a master key the data key only keys the digests and need not be secret.
    kid, kept = (None, data_key) if keyring is None else keyring.wrap(data_key, wrap_context(run_id))
    new = NewRun(
        id=run_id,
        migration=proposal.migration.name,
        version=proposal.migration.version,
        fingerprint=proposal.plan.fingerprint,
        relations=proposal.relations,
        targets=proposal.stored,
        options=options,
        estimated_rows=proposal.plan.pending_rows,
        actor=actor(proposal.db.server.role),
        kid=kid,
        data_key=kept,
    )
    return new, data_key


def check_arguments(migration: BaseMigration, record: asyncpg.Record) -> None:
    """Whether an unfinished run was told the same: part of its work is done by now.

    Raises:
        PlanDrift: it was begun with other arguments.
    """
    begun = arguments_of(type(migration), orjson.loads(record["options"]).get("arguments"))
    if begun != dict(migration.context.arguments):
        told = " ".join(f"{name}={value}" for name, value in begun.items())
        raise PlanDrift(
            f"run {record['id']} of {migration.name} began with {told}",
            f"Go on with `datamig resume {record['id']}`, or undo it with `datamig rollback {record['id']}`",
        )


def _matched(targets: Sequence[Target], shapes: Sequence[Shape], run_id: uuid.UUID) -> list[Target]:
    """The targets as the unfinished run knows them: by now the columns may be widened already."""
    now = {_identity(target.shape): target for target in targets}
    matched = []
    for shape in shapes:
        target = now.get(_identity(shape))
        if target is None:
            raise PlanDrift(
                f"run {run_id} works on {shape.table}, which is not as it was when the run began",
                f"Undo it with `datamig rollback {run_id}`, then start anew",
            )
        matched.append(attrs.evolve(target, shape=shape))
    return matched


def _identity(shape: Shape) -> tuple[str, frozenset[str]]:
    """Tells targets apart: a table may have several, with other columns each."""
    return shape.table, frozenset(field.name for field in shape.columns)
