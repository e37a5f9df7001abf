from __future__ import annotations

import importlib
from types import SimpleNamespace

import orjson
import pytest

from taaxdog_datamig.engine.planner import BAND, check_pinned, fingerprint, order
from taaxdog_datamig.engine.reports import Plan, TablePlan
from taaxdog_datamig.errors import PlanDrift
from taaxdog_datamig.migration import Changes, Ddl, Target
from taaxdog_datamig.pg.rows import Field, Shape

CODE = """
from taaxdog_datamig.migration import DeclaredMigration

class Ours(DeclaredMigration):
    name, version, description = "ours", "1", ""

    async def targets(self):
        return []
"""


@pytest.fixture
def ours(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def load(name, code, **arguments):
        (tmp_path / f"{name}.py").write_text(code)
        importlib.invalidate_caches()
        return importlib.import_module(name).Ours(context=SimpleNamespace(arguments=arguments))

    return load


def target(*, pending="state IS NULL", column="state", ddl=()):
    fields = tuple(Field(name=n, column=n, type="text", textual=True) for n in ("id", column))
    shape = Shape(table="users", relation='"public"."users"', key=fields[:1], columns=fields[1:])
    return Target(table=None, shape=shape, pending=pending, transform=lambda _: Changes(), ddl=ddl)


def test_a_fingerprint_is_the_same_for_the_same_and_differs_for_anything_else(ours):
    one = ours("fingerprint_one", CODE)
    base = fingerprint(one, [target()])
    assert base == fingerprint(ours("fingerprint_same", CODE), [target()])
    others = [
        fingerprint(ours("fingerprint_code", CODE.replace("return []", "return [][:]")), [target()]),
        fingerprint(ours("fingerprint_version", CODE.replace('"1"', '"2"')), [target()]),
        fingerprint(ours("fingerprint_argument", CODE, to="argon2id"), [target()]),
        fingerprint(one, [target(pending="state = ''")]),
        fingerprint(one, [target(column="postcode")]),
        fingerprint(one, [target(ddl=(Ddl(do="ALTER", undo="BACK"),))]),
        fingerprint(one, [target(), target()]),
        fingerprint(one, []),
    ]
    assert len({base, *others}) == len(others) + 1


def plan(rows, *, migration="ours", mark="f"):
    table = TablePlan(
        table="users",
        relation="public.users",
        columns=("state",),
        pending_rows=rows,
        estimate="counted",
        total_rows=rows,
        heap_bytes=8192,
        windows=1,
    )
    return Plan(
        migration=migration, version="1", description="", applicable=True, tables=(table,), fingerprint=mark
    )


def pinned(rows, **more):
    """As it comes back from a file."""
    tables = [{"table": "users", "pending_rows": rows}]
    return orjson.loads(orjson.dumps({"migration": "ours", "fingerprint": "f", "tables": tables} | more))


@pytest.mark.parametrize("rows", [0, 1, 99, 1000, 1_000_000])
def test_rows_may_differ_by_the_band_and_no_more(rows):
    most = int(rows * BAND[0] + BAND[1])
    check_pinned(plan(rows + most), pinned(rows))
    check_pinned(plan(max(rows - most, 0)), pinned(rows))
    with pytest.raises(PlanDrift, match="users has"):
        check_pinned(plan(rows + most + 1), pinned(rows))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"migration": "theirs"}, "is for 'theirs', not 'ours'"),
        ({"fingerprint": "g"}, "are not those of the pinned plan"),
        ({"tables": []}, "users has 1,000 pending rows, the pinned plan 0"),
    ],
)
def test_another_migration_code_or_table_is_drift(more, words):
    with pytest.raises(PlanDrift, match=words):
        check_pinned(plan(1000), pinned(1000, **more))


@pytest.mark.parametrize("document", [{}, {"migration": "ours"}, {"tables": None}])
def test_a_file_without_the_parts_of_a_plan_is_drift(document):
    with pytest.raises(PlanDrift):
        check_pinned(plan(0), document)


def test_a_plan_says_in_which_order_rows_are_changed_and_why():
    assert "touches no index" in order((), deleting=False)
    assert "users_state_idx rule heap-only updates out" in order(("users_state_idx",), deleting=False)
    assert order(("users_state_idx",), deleting=True).startswith("in heap order")
