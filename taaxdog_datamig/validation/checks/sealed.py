"""What checks of sensitive columns share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from taaxdog_datamig.crypto import predicates
from taaxdog_datamig.profile import over
from taaxdog_datamig.validation.model import SEALED, ExaminedCheck, RowCheck
from taaxdog_datamig.validation.sharing import shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from taaxdog_datamig.profile import FittedTable
    from taaxdog_datamig.validation.examine import ExaminedRow
    from taaxdog_datamig.validation.model import Check, Rule
    from taaxdog_datamig.validation.scene import Scene

#: Columns of tax file numbers and of two-factor secrets, in lower case without underscores.
_TFN: Final = frozenset({"tfn", "taxfilenumber"})
_TWO_FACTOR: Final = frozenset({"twofactorsecret"})


def sensitive(scene: Scene) -> Iterator[tuple[FittedTable, str]]:
    """Every sensitive column that is here, by table and logical name."""
    for table in scene.profile.tables.values():
        for column in table.sensitive:
            yield table, column


def holds_tfn(column: str) -> bool:
    """Whether a column of that logical name holds tax file numbers."""
    return column.replace("_", "").lower() in _TFN


def holds_two_factor_secret(column: str) -> bool:
    """Whether a column of that logical name holds what two-factor codes are made from."""
    return column.replace("_", "").lower() in _TWO_FACTOR


# Half a dozen checks of each column are made with these.
def plaintext(text: str) -> str:
    """SQL, true of what is sealed in no way."""
    return shared(predicates.plaintext(text))


def sealed(text: str) -> str:
    """SQL, true of what begins as a sealed value does."""
    return shared(predicates.sealed(text))


def opaque(text: str) -> str:
    """SQL, true of what looks as if the application had sealed it."""
    return shared(predicates.opaque(text))


def must_open(text: str) -> str:
    """SQL, true of what only opening tells."""
    return f"({sealed(text)} OR {opaque(text)})"


def plain_and_sealed(
    rule: Rule, table: str, column: str, broken: Callable[[str], str], judge: Callable[[str], bool]
) -> list[Check]:
    """A rule for a sensitive column, by SQL for plaintext and by opening for sealed values.

    Args:
        rule: the rule.
        table: logical name.
        column: logical name.
        broken: given SQL of a plaintext, SQL that is true where it breaks the rule.
        judge: whether a plaintext breaks it: the same.
    """

    def plain(text: str) -> str:
        return f"{plaintext(text)} AND {broken(text)}"

    return [
        RowCheck(
            rule=rule, table=table, columns=(column,), part=f"{table}.{column}", violation=over(plain, column)
        ),
        opened(rule, table, column, judge),
    ]


def opened(rule: Rule, table: str, column: str, judge: Callable[[str], bool]) -> ExaminedCheck:
    """A rule for the plaintext of a column's sealed values."""

    def violated(row: ExaminedRow) -> bool:
        plaintext = row.found(column).plaintext
        return plaintext is not None and judge(plaintext)

    return ExaminedCheck(
        rule=rule,
        table=table,
        columns=(column,),
        part=f"{table}.{column}{SEALED}",
        suspect=over(must_open, column),
        looked_at=(column,),
        violated=violated,
        needs_keys=True,
        may_sample=True,
    )
