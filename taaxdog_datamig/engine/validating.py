"""Validation before and after a run, of what the run changes, and what it says of the run.

Before, a finding is told; one as severe as the setting `block_on`, that no migration mends, refuses the run.
After, the same checks are made as of the same moment, so that time alone makes no difference. A row that the
run wrote, and that breaks a rule which it kept before, fails the proof, unless the finding is a trifle: `low`
or `warning`. Whatever else is found more often may be the application's own doing, and is a warning.
"""

from __future__ import annotations

import time
from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from taaxdog_datamig.engine.apply import steadily
from taaxdog_datamig.engine.images import Deleted, context_of, open_image
from taaxdog_datamig.engine.reports import RunValidation, ValidatedCheck
from taaxdog_datamig.errors import DatabaseUnavailable, LeaseLost, PreflightFailed, ProofFailed
from taaxdog_datamig.migration import Migration
from taaxdog_datamig.pg.retry import Backoff
from taaxdog_datamig.pg.transactions import transaction
from taaxdog_datamig.validation import SEVERITIES, Validator
from taaxdog_datamig.validation.extent import Extent
from taaxdog_datamig.validation.model import SEALED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.engine.reports import RunReport
    from taaxdog_datamig.engine.start import Started
    from taaxdog_datamig.migration import BaseMigration, Target
    from taaxdog_datamig.validation import CheckResult, ValidationReport

#: Keys of each finding that before and after are compared by.
KEYS: Final = 200
#: New findings that fail the proof.
_GRAVE: Final = SEVERITIES[: SEVERITIES.index("medium") + 1]
_EVENT: Final = "validated"
#: Above every chunk's number.
_NEWEST: Final = (1 << 63) - 1


@attrs.frozen(kw_only=True)
class Known:
    """What a check found before the run."""

    table: str
    violations: int
    keys: frozenset[str] = frozenset()
    #: Whether only a sample of rows was examined.
    sampled: bool = False

    @property
    def complete(self) -> bool:
        """Whether all of the rows are known."""
        return len(self.keys) == self.violations and not self.sampled


@attrs.frozen(kw_only=True)
class Before:
    """How things stood before the run."""

    moment: datetime
    seconds: float
    checks: Mapping[str, Known]
    #: Findings and checks that could not be made; empty where the run is gone on with.
    told: tuple[CheckResult, ...] = ()


async def validate_before(started: Started) -> Before | None:
    """Look at what the run will change, or at what it said of that when it began.

    Returns:
        None where validation is skipped, or nothing is known of the time before.

    Raises:
        PreflightFailed: something was found that the run must not start on.
        DatabaseUnavailable: the server stays away.
    """
    job = started.job
    if started.extent is None or job.options.skip_validation:
        return None
    if started.resumed and (found := await _remembered(job)) is not None:
        return found
    totals = await steadily(job, "looking at the run", lambda c: job.ledger.work.totals(c, job.run_id))
    if any(total.get("changed") for total in totals.values()):
        return None
    report = await _validated(job, started.extent)
    before = Before(
        moment=report.moment,
        seconds=report.seconds,
        checks={check.id: _known(check) for check in report.checks if check.made},
        told=tuple(check for check in report.checks if check.failed or check.error),
    )
    _refuse(job, before, started.extent.migration)
    if not job.dry_run:
        await _remember(job, before)
    return before


def preview(before: Before) -> RunValidation:
    """What validation before the run says, as a report has it."""
    return RunValidation(
        checks_made=len(before.checks),
        seconds_before=round(before.seconds, 3),
        checks=tuple(_told(check, _known(check), None) for check in before.told),
    )


async def validate_after(started: Started, before: Before) -> RunValidation:
    """Make the same checks again.

    Raises:
        ProofFailed: rows that the run wrote break a rule that they kept before.
        DatabaseUnavailable: the server stays away.
    """
    job = started.job
    assert started.extent is not None
    report = await _validated(job, started.extent, before.moment)
    # What a sealed value says when it is opened, the proof has compared with what was sealed: where it breaks
    # a rule, the application wrote it so, maybe after the look before the run.
    # A merge moves values from row to row, and what is wrong with them goes along.
    moved = any(target.action == "merge" for target in job.targets)
    fresh = {check.id: frozenset() if moved else _fresh(check, before) for check in report.checks}
    suspects = {
        check.id: (check.table, fresh[check.id])
        for check in report.checks
        if check.severity in _GRAVE and fresh[check.id] and not check.id.endswith(SEALED)
    }
    ours = await _written(job, suspects) if suspects else {}
    for check in report.checks:
        if keys := ours.get(check.id):
            raise ProofFailed(
                f"validation found rows of {check.table} that the run has broken"
                f" ({check.id}: {check.title}): {', '.join(sorted(keys)[:5])}",
                "Correct the migration; `--skip-validation` runs it without this look",
            )
    told = []
    for check in report.checks:
        was = before.checks.get(check.id)
        if check.error or check.failed or (was is not None and was.violations):
            told.append(_told(check, was, check))
    return RunValidation(
        checks_made=sum(check.made for check in report.checks),
        seconds_before=round(before.seconds, 3),
        seconds_after=round(report.seconds, 3),
        checks=tuple(told),
    )


def with_validation(report: RunReport, validation: RunValidation | None) -> RunReport:
    """The report of a run with its validation, and what people should know of that."""
    if validation is None:
        return report
    said = (*report.warnings, *_remarks(validation, report))
    return attrs.evolve(report, validation=validation, warnings=said)


def _remarks(validation: RunValidation, report: RunReport) -> list[str]:
    """What people should know of a validation around a run, besides its proof.

    Args:
        validation: before, and after unless the run was dry.
        report: the run's, complete but for this.
    """
    said = []
    listed = report.quarantined_rows + report.left_rows
    said += [
        f"validation: {check.id} could not be made: {check.error}"
        for check in validation.checks
        if check.error is not None
    ]
    checks = _together(validation)
    for check in checks:
        if check.after is None or check.before is None:
            continue
        if check.after > check.before and not check.sampled:
            said.append(
                f"validation: {check.id} found {check.after:,} rows of {check.table} after the run and "
                f"{check.before:,} before: the application may have written them meanwhile, or a merge moved "
                "values into them"
            )
        elif check.fix == report.migration and check.after > listed:
            said.append(
                f"validation: {check.after:,} of {check.before:,} rows of {check.table} are still as "
                f"{check.id} finds them, although {report.migration} mends such rows"
            )
    if others := [check for check in checks if check.before and check.fix != report.migration]:
        worst = ", ".join(
            f"{check.id} ({check.before:,}{' in a sample' if check.sampled else ''})" for check in others[:5]
        )
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""  # noqa: PLR2004 - as above
        said.append(f"validation found what this migration does not mend: {worst}{more}")
    return said


def _together(validation: RunValidation) -> list[ValidatedCheck]:
    """The checks that were made; those of values in the clear and of sealed ones as one: a run may seal."""
    found: dict[str, ValidatedCheck] = {}
    for check in validation.checks:
        if check.error is not None:
            continue
        name = check.id.removesuffix(SEALED)
        same = attrs.evolve(check, id=name)
        if (other := found.get(name)) is not None:
            before, after = _sum(check.before, other.before), _sum(check.after, other.after)
            sampled = check.sampled or other.sampled
            same = attrs.evolve(same, before=before, after=after, sampled=sampled)
        found[name] = same
    return list(found.values())


def _sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else one + other


async def _validated(job: Job, extent: Extent, moment: datetime | None = None) -> ValidationReport:
    """A validation; patient when the server, or the way to it, is lost."""
    delays, deadline = Backoff().delays(), time.monotonic() + job.db.settings.outage_patience
    while True:
        try:
            report = await Validator(job.db, samples=KEYS).validate(extent=extent, moment=moment)
        except DatabaseUnavailable:
            if time.monotonic() > deadline:
                raise
            job.outages += 1
            await job.wait("the connection to the server was lost", next(delays))
        else:
            job.events.emit(report.told("before" if moment is None else "after"))
            return report


def _known(check: CheckResult) -> Known:
    return Known(
        table=check.table,
        violations=check.violations,
        keys=frozenset(check.sample_keys),
        sampled=check.sampled,
    )


def _fresh(check: CheckResult, before: Before) -> frozenset[str]:
    """Keys of rows that break the rule now and did not before, by whichever of its checks.

    A rule may have a check for values in the clear and one for sealed ones.
    """
    if check.id not in before.checks or not check.failed:
        return frozenset()
    same = [
        known
        for name, known in before.checks.items()
        if name.partition(":")[0] == check.rule and known.table == check.table
    ]
    if not all(known.complete for known in same):
        return frozenset()
    return frozenset(check.sample_keys).difference(*(known.keys for known in same))


def _told(check: CheckResult, before: Known | None, after: CheckResult | None) -> ValidatedCheck:
    return ValidatedCheck(
        id=check.id,
        title=check.title,
        severity=check.severity,
        table=check.table,
        fix=check.fix,
        before=None if before is None else before.violations,
        after=None if after is None or after.error else after.violations,
        error=check.error,
        sampled=bool((before and before.sampled) or (after and after.sampled)),
    )


def _refuse(job: Job, before: Before, migration: str) -> None:
    """Refuse to run on damage that nothing mends."""
    severities: list[str] = [*SEVERITIES, "never"]
    limit = severities.index(job.db.settings.block_on)
    grave = [] if severities[limit] == "never" or job.dry_run else severities[: limit + 1]
    for check in before.told:
        if check.failed and check.fix is None and check.severity in grave:
            raise PreflightFailed(
                f"validation found {check.violations:,} rows of {check.table} in what {migration} changes "
                f"that nothing mends ({check.id}, {check.severity}: {check.title})",
                f"Mend them first: `datamig validate --check {check.id}` names them; the setting block_on "
                "says what refuses a run",
            )


async def _remember(job: Job, before: Before) -> None:
    """Keep it with the run, for whoever goes on with it."""
    checks = {
        name: [known.table, known.violations, *sorted(known.keys)] for name, known in before.checks.items()
    }
    sampled = [name for name, known in before.checks.items() if known.sampled]
    entry = {"moment": before.moment, "seconds": before.seconds, "checks": checks, "sampled": sampled}

    async def record(connection: PoolConnectionProxy[Any]) -> None:
        async with transaction(connection):
            if await job.ledger.runs.guard(connection, job.run_id, job.epoch) is None:
                raise LeaseLost(f"run {job.run_id} was taken over by another process")
            await job.ledger.audit.append(connection, _EVENT, job.run_id, entry)

    await steadily(job, "recording the validation", record)


async def _remembered(job: Job) -> Before | None:
    async def look(connection: PoolConnectionProxy[Any]) -> str | None:
        return await job.ledger.audit.first(connection, _EVENT, job.run_id)

    if (text := await steadily(job, "looking at the validation", look)) is None:
        return None
    entry = orjson.loads(text)
    return Before(
        moment=datetime.fromisoformat(entry["moment"]),
        seconds=entry["seconds"],
        checks={
            name: Known(
                table=table, violations=violations, keys=frozenset(keys), sampled=name in entry.get("sampled", ())
            )
            for name, (table, violations, *keys) in entry["checks"].items()
        },
    )


async def _written(job: Job, suspects: Mapping[str, tuple[str, frozenset[str]]]) -> dict[str, set[str]]:
    """Which of the rows the run has written, by its before-images.

    Args:
        job: the run.
        suspects: by check: the label of its table, and keys of rows.
    """
    ours: dict[str, set[str]] = defaultdict(set)
    before = _NEWEST
    while True:

        async def look(connection: PoolConnectionProxy[Any], at: int = before) -> asyncpg.Record | None:
            return await job.ledger.work.next_to_restore(connection, job.run_id, at)

        chunk = await steadily(job, "looking for what was written", look)
        if chunk is None:
            return ours
        before = chunk["id"]
        if chunk["image"] is None or not job.targets:
            continue
        target = job.targets[chunk["target"]].table
        for effect in open_image(chunk["image"], job.sealer, context_of(job.run_id, chunk["target"])):
            if isinstance(effect, Deleted):
                continue
            label = effect.shape.relation.replace('"', "")
            label = target.relation.label if effect.shape.table == target.spec.name else label
            written = {",".join(key) for key in effect.keys}
            for check, (table, keys) in suspects.items():
                if table == label:
                    ours[check] |= keys & written


async def extent_of(migration: BaseMigration, targets: Sequence[Target]) -> Extent:
    """What a migration changes. One by code may change anything in its tables."""
    columns: dict[int, frozenset[str] | None] = {}
    losing: set[int] = set()
    for target in targets:
        oid = target.table.relation.oid
        known = columns.get(oid, frozenset())
        fields = () if target.action == "delete" else target.shape.columns
        changed = frozenset(field.column for field in fields)
        columns[oid] = None if known is None or target.action == "merge" else known | changed
        if target.action != "update":
            losing.add(oid)
    if isinstance(migration, Migration):
        async with migration.context.db.acquire() as connection:
            for name in migration.tables:
                if (table := await migration.context.profile.table(connection, name)) is not None:
                    columns[table.relation.oid] = None
                    losing.add(table.relation.oid)
    return Extent(migration=migration.name, columns=columns, losing=frozenset(losing))
