"""`validate`: what is wrong in the database."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import attrs
from cyclopts import Parameter
from cyclopts.validators import Number

from taaxdog_datamig.errors import UnknownName, UsageError
from taaxdog_datamig.validation import RULES, Category, Severity, ValidationReport
from taaxdog_datamig_cli import reportfiles
from taaxdog_datamig_cli.answers import Rules
from taaxdog_datamig_cli.files import write_whole
from taaxdog_datamig_cli.monitors import Work
from taaxdog_datamig_cli.options import AT_LEAST_ONE
from taaxdog_datamig_cli.reportfiles import Form
from taaxdog_datamig_cli.session import Session

_log = logging.getLogger(__name__)


async def validate(
    *,
    user_id: str | None = None,
    check: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    category: Annotated[tuple[Category, ...], Parameter(negative="", show_default=False)] = (),
    fail_on: Severity = "low",
    format_: Annotated[Form | None, Parameter(name="--format")] = None,
    output: Annotated[tuple[Path, ...], Parameter(negative="", show_default=False)] = (),
    baseline: Path | None = None,
    history: Path | None = None,
    list_: Annotated[bool, Parameter(name="--list", negative="", show_default=False)] = False,
    statement_timeout: Annotated[float | None, Parameter(name="--timeout", validator=Number(gt=0))] = None,
    jobs: Annotated[int, AT_LEAST_ONE] = 2,
    session: Annotated[Session, Parameter(parse=False)],
) -> ValidationReport | Rules:
    """Check the whole database: what is wrong, where, how bad it is, and which migration mends it.

    Changes nothing; a standby will do.

    Args:
        user_id: Look at the rows of this user only.
        check: A check, or a rule with all its checks; may be repeated.
        category: A category of checks; may be repeated.
        fail_on: End with code 3 when something as severe as this, or worse, was found.
        format_: The form of the report; by default that of the output file's ending, else text.
        output: Write the report to this file, too; may be repeated.
        baseline: Show only what is new since this JSON report.
        history: Keep each report in this folder; HTML draws the trend from them.
        list_: List the rules, without a database.
        statement_timeout: Seconds for one statement; a check that takes longer is reported as not made.
        jobs: Tables read at the same time.
        session: Given by the command line.
    """
    form = _on_stdout(session, format_, output)
    if list_:
        return _rules(check, category, form)
    targets = reportfiles.targets(output, format_)
    known = None if baseline is None else reportfiles.read(baseline)
    if known is not None:
        known.must_be_about(user_id)
    if history is not None:
        reportfiles.ready(history)
    report = await _validated(
        session, jobs, statement_timeout, user_id=user_id, checks=check, categories=category, fail_on=fail_on
    )
    past: list[ValidationReport] = []
    if history is not None:
        past, complaints = reportfiles.earlier(history, report)
        for complaint in complaints:
            _log.warning("left out of the trend: %s", complaint)
        reportfiles.keep(history, report)
    if known is not None:
        report = report.since(known)
    for target in targets:
        write_whole(target.path, reportfiles.rendered(report, target.form, past))
    if form is not None:
        session.text = reportfiles.rendered(report, form, past)
    return report


def _rules(checks: tuple[str, ...], categories: tuple[Category, ...], form: Form | None) -> Rules:
    if form is not None:
        raise UsageError(f"--list has no form {form}", "It knows text and json")
    wanted = {name.partition(":")[0] for name in checks}
    if unknown := sorted(wanted - {rule.id for rule in RULES}):
        raise UnknownName(f"there is no check {unknown[0]!r}", "`datamig validate --list` shows them")
    return Rules(
        [
            rule
            for rule in RULES
            if (not categories or rule.category in categories) and (not wanted or rule.id in wanted)
        ]
    )


def _on_stdout(session: Session, form: Form | None, output: tuple[Path, ...]) -> Form | None:
    """The form of the report on stdout, unless it is the page for people or the document of `--json`."""
    if output or form in {None, "text"}:
        return None
    if form == "json":
        session.common = attrs.evolve(session.common, json=True)
        return None
    if session.common.json:
        raise UsageError(f"--json and --format {form} both want stdout", "Add --output FILE for one of them")
    return form


async def _validated(session: Session, jobs: int, seconds: float | None, **asked: Any) -> ValidationReport:
    from taaxdog_datamig import Validator

    reporter = session.reporter()
    async with session.database() as (database, settings):
        with session.watched(settings, reporter, Work()) as events:
            validator = Validator(database, settings, jobs=jobs, timeout=seconds, events=events)
            with session.working_on("validate", reporter):
                return await validator.validate(**asked)
