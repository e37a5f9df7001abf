"""Reports of validations in files: formats by their ending, baselines, and a folder of earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import attrs

from taaxdog_datamig.errors import UsageError
from taaxdog_datamig.validation import ValidationReport, loaded, render
from taaxdog_datamig_cli.files import refuse_unwritable, write_whole

Form: TypeAlias = Literal["text", "json", "junit", "sarif", "html"]

_ENDINGS: dict[str, Form] = {
    ".txt": "text",
    ".json": "json",
    ".xml": "junit",
    ".sarif": "sarif",
    ".html": "html",
}
#: Reports drawn in a trend: the latest.
_DRAWN = 100
_PREFIX = "validation-"


@attrs.frozen
class Target:
    """A file to write, and how."""

    path: Path
    form: Form


def targets(paths: Iterable[Path], form: Form | None) -> list[Target]:
    """What is to be written where.

    Raises:
        UsageError: a file cannot be written, or nothing says in which format.
    """
    found = []
    for path in paths:
        if (chosen := form or _ENDINGS.get(path.suffix.lower())) is None:
            raise UsageError(
                f"nothing says in which format to write {path}",
                f"Add --format, or let it end in {', '.join(_ENDINGS)}",
            )
        refuse_unwritable(path)
        found.append(Target(path, chosen))
    return found


def rendered(report: ValidationReport, form: Form, history: Sequence[ValidationReport]) -> str:
    """The text of a report."""
    if form != "text":
        return render(report, form, history=history)
    from io import StringIO

    from taaxdog_datamig_cli.page import write_plain
    from taaxdog_datamig_cli.validationpages import validation_page

    stream = StringIO()
    write_plain(validation_page(report), stream)
    return stream.getvalue()


def read(path: Path) -> ValidationReport:
    """The report in a JSON file.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    try:
        return loaded(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def ready(folder: Path) -> None:
    """Make the folder of earlier reports.

    Raises:
        UsageError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder}: {error.strerror}") from None
    refuse_unwritable(folder / "x")


def earlier(folder: Path, report: ValidationReport) -> tuple[list[ValidationReport], list[str]]:
    """Earlier reports about the same rows, the oldest first, and what is wrong with files that are none."""
    found, complaints = [], []
    for path in sorted(folder.glob(f"{_PREFIX}*.json"))[-_DRAWN:]:
        try:
            past = read(path)
        except UsageError as error:
            complaints.append(error.what)
            continue
        same = (past.database, past.user_id) == (report.database, report.user_id)
        if same and past.moment < report.moment:
            found.append(past)
    return sorted(found, key=lambda past: past.moment), complaints


def keep(folder: Path, report: ValidationReport) -> Path:
    """Add a report to a folder.

    Raises:
        UsageError: it cannot be written.
    """
    path = folder / f"{_PREFIX}{report.moment:%Y%m%dT%H%M%S.%fZ}.json"
    write_whole(path, render(report, "json"))
    return path
