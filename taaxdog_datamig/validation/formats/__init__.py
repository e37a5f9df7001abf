"""A validation's report as others read it: JSON, JUnit, SARIF, and a page of HTML.

Each is one text, made of nothing but the report: keys, counts and words, never a value. Whatever stands in
it, such as the name of a table or the title of somebody's own check, is escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from taaxdog_datamig.validation.formats.document import SCHEMA, document, dumped, loaded
from taaxdog_datamig.validation.formats.htmlpage import page
from taaxdog_datamig.validation.formats.junit import junit
from taaxdog_datamig.validation.formats.sarif import sarif

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taaxdog_datamig.validation.report import ValidationReport

Format: TypeAlias = Literal["json", "junit", "sarif", "html"]
FORMATS: Final[tuple[Format, ...]] = ("json", "junit", "sarif", "html")


def render(report: ValidationReport, form: Format, *, history: Sequence[ValidationReport] = ()) -> str:
    """The text of a report.

    Args:
        report: what was found.
        form: which format.
        history: earlier reports, the oldest first; the HTML page draws the trend from them.
    """
    match form:
        case "json":
            return dumped(document(report))
        case "junit":
            return junit(report)
        case "sarif":
            return dumped(sarif(report))
        case "html":
            return page(report, history)


__all__ = ["FORMATS", "SCHEMA", "Format", "document", "loaded", "render"]
