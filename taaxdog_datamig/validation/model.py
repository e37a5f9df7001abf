"""What a check is: a rule, and the rows of a table that break it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.pg.keys import ForeignKey
    from taaxdog_datamig.validation.examine import ExaminedRow
    from taaxdog_datamig.validation.scene import Scene

Severity: TypeAlias = Literal["critical", "high", "medium", "low", "warning"]
#: The worst first.
SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "high", "medium", "low", "warning")

#: How ids end of checks that look at what is in sealed values; those of values in the clear lack it.
SEALED: Final = ".sealed"

Category: TypeAlias = Literal[
    "referential-integrity", "data-consistency", "business-rules", "australian-compliance", "security"
]
CATEGORIES: Final[tuple[Category, ...]] = (
    "referential-integrity",
    "data-consistency",
    "business-rules",
    "australian-compliance",
    "security",
)


@attrs.frozen(kw_only=True)
class Rule:
    """What must hold, as people read of it."""

    #: Words joined by hyphens.
    id: str
    #: What is wrong with a row that breaks it, in a few words.
    title: str
    category: Category
    severity: Severity
    #: What it means when rows break it, in a sentence or three.
    meaning: str
    #: How to mend them.
    remedy: str
    #: The migration that mends them, if one does.
    fix: str | None = None


@attrs.frozen(kw_only=True)
class Check:
    """A rule for a table.

    SQL in it is over the row `t`; `{column}` stands for a column by its logical name, `{now}` for the
    moment of the validation (timestamp, UTC), `{today}` for its date, `{audit_logs}`, `{payments}` and
    `{soft_deleted}` for the periods of `[retention]`.
    """

    rule: Rule
    #: Logical name; empty for a check of the whole database.
    table: str
    #: Logical names of what it is about. Where one is not here the check is skipped.
    columns: tuple[str, ...] = ()
    #: Tells it from other checks of its rule.
    part: str = ""

    @property
    def id(self) -> str:
        """The rule's id, or `rule:table.column` where the rule has several checks."""
        return f"{self.rule.id}:{self.part}" if self.part else self.rule.id


@attrs.frozen(kw_only=True)
class RowCheck(Check):
    """Rows that are wrong in themselves. All of a table's are counted in one scan."""

    #: SQL, true of a row that breaks the rule; NULL counts as not true.
    violation: str


@attrs.frozen(kw_only=True)
class ExaminedCheck(Check):
    """Rows that SQL cannot judge: it names suspects, and Python looks at each."""

    #: SQL, true of every row that may break the rule.
    suspect: str
    #: Columns to look at; the key is always there.
    looked_at: tuple[str, ...]
    #: Whether the row breaks the rule. Asked of suspects only.
    violated: Callable[[ExaminedRow], bool]
    #: Whether it needs the keys of sensitive columns.
    needs_keys: bool = False
    #: SQL, true of rows that break the rule for certain: they are counted, and not looked at. No suspects.
    certain: str = ""
    #: Whether a random sample will do where there are very many suspects.
    may_sample: bool = False
    #: How many times dearer a look is than opening a token: the sample is so many times smaller.
    effort: int = 1


@attrs.frozen(kw_only=True)
class UniqueCheck(Check):
    """Rows that share with another what only one may have: every row but the first by key breaks the rule."""

    #: SQL of what must differ; rows where one of them is NULL take no part.
    terms: tuple[str, ...]
    #: SQL; only rows for which it is true take part.
    where: str = "true"


@attrs.frozen(kw_only=True)
class ReferenceCheck(Check):
    """Rows that refer to a row that does not exist."""

    key: ForeignKey
    #: SQL; only rows for which it is true are looked at.
    where: str = "true"


@attrs.frozen(kw_only=True)
class Findings:
    """What a function found."""

    violations: int
    #: Names of rows or other objects, some of them at least; never a value.
    sample_keys: tuple[str, ...] = ()
    note: str = ""
    #: Whether only a sample of the rows in question was examined.
    sampled: bool = False


@attrs.frozen
class Failure:
    """A check that could not be made, and why."""

    why: str


@attrs.frozen(kw_only=True)
class FunctionCheck(Check):
    """Anything else: a coroutine that looks for itself, on a connection that can only read."""

    find: Callable[[PoolConnectionProxy[Any], Scene], Awaitable[Findings]]
