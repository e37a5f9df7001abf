"""What a migration changes, so that checks of anything else need not be made around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from taaxdog_datamig.profile import column_of
from taaxdog_datamig.validation.model import ReferenceCheck

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from taaxdog_datamig.pg.keys import ForeignKey
    from taaxdog_datamig.validation.model import Check
    from taaxdog_datamig.validation.scene import Scene


@attrs.frozen(kw_only=True)
class Extent:
    """What a migration changes."""

    #: Its name: what it is there to mend concerns it in any case.
    migration: str
    #: By oid of the table: physical names of the columns that change; None: any.
    columns: Mapping[int, frozenset[str] | None]
    #: oids of tables that lose rows.
    losing: frozenset[int] = frozenset()

    def reaching(self, references: Iterable[ForeignKey]) -> Extent:
        """The same with what lost rows take along: rows that refer to them go, or lose their reference."""
        columns, losing, queue = dict(self.columns), set(self.losing), list(self.losing)
        followed = list(references)
        while queue:
            parent = queue.pop()
            for key in followed:
                if key.parent != parent:
                    continue
                known = columns.get(key.child, frozenset())
                columns[key.child] = None if known is None else known | set(key.child_columns)
                if key.on_delete in {"cascade", "restrict"} and key.child not in losing:
                    losing.add(key.child)
                    queue.append(key.child)
        return attrs.evolve(self, columns=columns, losing=frozenset(losing))

    def concerns(self, scene: Scene, check: Check, needed: Iterable[str]) -> bool:
        """Whether the migration can make a difference to a check.

        Args:
            scene: where.
            check: any.
            needed: logical names of the columns that it needs.
        """
        if check.rule.fix == self.migration:
            return True
        table = scene.table(check.table) if check.table else None
        if table is None:
            return False
        names: set[str] = set()
        if isinstance(check, ReferenceCheck):
            if check.key.parent in self.losing:
                return True
            names |= set(check.key.child_columns)
        changed = self.columns.get(table.relation.oid, frozenset())
        if changed is None:
            return True
        names |= {column.name for name in needed if (column := column_of(table, name)) is not None}
        return not names.isdisjoint(changed)
