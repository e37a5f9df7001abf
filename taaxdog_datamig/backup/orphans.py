"""Restored rows that refer to rows that do not exist: refused, or brought back as broken as they were.

A foreign key that the server vouches for lets none in. Under one that is NOT VALID, NOT ENFORCED or switched
off there may have been some, and a cleanup may have taken them since: `keep` brings them back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from taaxdog_datamig.errors import RefusedError
from taaxdog_datamig.pg.keys import Flaw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.matching import Target
    from taaxdog_datamig.pg.keys import ForeignKey

#: What becomes of rows that refer to nothing.
Orphans: TypeAlias = Literal["refuse", "keep"]

_FLAWS: dict[Flaw, str] = {
    "not-valid": "NOT VALID",
    "not-enforced": "NOT ENFORCED",
    "disabled": "with its triggers switched off",
}


def may_have_orphans(targets: Sequence[Target]) -> bool:
    """Whether a foreign key would let orphans be."""
    return any(not key.valid for target in targets for key in target.foreign)


async def prove_references(
    connection: PoolConnectionProxy[Any], targets: Sequence[Target], orphans: Orphans, *, unchecked: bool
) -> list[str]:
    """Look at the foreign keys of restored tables; returns what to say of orphans that came back.

    Args:
        connection: in the transaction that has changed the rows.
        targets: the tables.
        orphans: what becomes of them.
        unchecked: whether no trigger of the server's has looked.

    Raises:
        RefusedError: there are some, and they may not be.
    """
    told = []
    for target in targets:
        for key in target.foreign:
            if key.valid:
                # All rows: what a trigger did not see may have taken a parent away, too.
                query = f"SELECT count(*) FROM {key.child_name} AS c WHERE {key.dangling('c')}"
                rows = await connection.fetchval(query) if unchecked else 0
            else:
                rows = await connection.fetchval(_restored(target, key))
            if rows and (key.valid or orphans == "refuse"):
                raise _refused(target, key, rows)
            if rows:
                told.append(
                    f"{rows} rows of {target.relation.label} came back that refer to rows of"
                    f" {key.parent_name} that do not exist: foreign key {key.name} is {_flaw(key)}"
                )
    return told


async def refusal_by_key(
    connection: PoolConnectionProxy[Any], targets: Sequence[Target], name: str, orphans: Orphans
) -> RefusedError | None:
    """Why the server's foreign key refuses rows, asked before them; None where it is no key of these tables.

    Args:
        connection: at the savepoint before the statement.
        targets: the tables.
        name: of the foreign key.
        orphans: what was to become of them.
    """
    for target in targets:
        for key in target.foreign:
            if key.name == name and not key.valid:
                rows = await connection.fetchval(
                    f"SELECT count(*) FROM {target.differences} AS d JOIN {target.stage} AS s"
                    f" ON s.ctid = d.datamig_staged WHERE {_moved(target, key)} AND {key.dangling('s')}"
                )
                return _refused(target, key, rows, orphans)
    return None


def _restored(target: Target, key: ForeignKey) -> str:
    """SQL: how many rows that came back, or were given another parent, have none."""
    return (
        f"SELECT count(*) FROM {target.differences} AS d JOIN {target.source} AS c"
        f" ON {target.keys_equal('c', 'd')} WHERE {_moved(target, key)} AND {key.dangling('c')}"
    )


def _moved(target: Target, key: ForeignKey) -> str:
    """SQL: the row `d` of the differences comes back, or changes what it refers to."""
    places = {column.name: number for number, column in enumerate(target.columns, 1)}
    differ = [f"d.datamig_differ[{places[name]}]" for name in key.child_columns if name in places]
    return f"(d.datamig_kind = 'missing' OR {' OR '.join(differ) or 'false'})"


def _flaw(key: ForeignKey) -> str:
    return "" if key.flaw is None else _FLAWS.get(key.flaw, key.flaw)


def _refused(target: Target, key: ForeignKey, rows: int, orphans: Orphans = "refuse") -> RefusedError:
    together = f"Restore {key.parent_name} as well"
    if key.valid:
        todo = together
    elif orphans == "refuse":
        todo = f"{together}; or let them come back as broken as they were: --orphans keep"
    else:
        todo = (
            "Restore as a superuser, or (PostgreSQL 15 and later) GRANT SET ON PARAMETER"
            " session_replication_role to the role: else the server lets no such row in"
        )
    kind = "" if key.valid else f", which is {_flaw(key)}"
    return RefusedError(
        f"{rows} rows of {target.relation.label} would refer to rows of {key.parent_name} that do not exist"
        f" (foreign key {key.name}{kind}); nothing was changed",
        todo,
    )
