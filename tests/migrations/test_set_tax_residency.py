"""set-tax-residency: only where there is none, by what state and postcode say."""

from __future__ import annotations

from collections import Counter

import pytest
from application import run_beside
from cycle import cycle, reasons

from taaxdog_datamig.errors import UsageError
from taaxdog_datamig.testing import assert_crash_safe
from tests.older import keys
from tests.sample import KEY, engine, rows, script, state

NAME = "set-tax-residency"
FOREIGN = ("users.residency_foreign", "users.residency_foreign_code")


async def residencies(dsn, column='"taxResidency"'):
    return dict(await rows(dsn, f"SELECT id::text, {column}::text FROM users"))


def foreign(counts):
    return sum(counts[case] for case in FOREIGN)


async def test_there_and_back(older):
    before = await residencies(older.dsn)
    whole = await state(older.dsn)
    # A quarter of all has none; of the sample's mismatches (TAS with 2000) none is among them as unclear.
    rows_without = older.counts["users.residency_null"]
    left = foreign(older.counts)

    async def after(dsn):
        now = await residencies(dsn)
        for key, old in before.items():
            assert old is None or now[key] == old
        assert Counter(now.values())[None] == left
        assert Counter(now.values())["RESIDENT"] == Counter(before.values())["RESIDENT"] + rows_without - left
        moved = await state(dsn)
        assert {name for name in whole if whole[name] != moved[name]} == {"users"}
        assert await reasons(dsn) == {
            "state and postcode": older.counts["users.residency_both"],
            "state": older.counts["users.residency_state"],
            "postcode": older.counts["users.residency_postcode"],
            "no evidence": older.counts["users.residency_nowhere"] + older.counts["users.residency_blank"],
        }

    report = await cycle(older.dsn, NAME, rows=rows_without - left, left=left, after=after)
    async with engine(older.dsn) as runner:
        listed = Counter((r.code, r.reason) for r in await runner.quarantine(report.run_id))
    assert listed == {
        ("foreign-address", "state and postcode: not Australian"): older.counts["users.residency_foreign"],
        ("foreign-address", "postcode: not Australian"): older.counts["users.residency_foreign_code"],
    }


async def test_arguments_say_what_is_set(older):
    numbers = {case: len([*keys(case, 1_000)]) for case in FOREIGN}
    assert sum(numbers.values()) == foreign(older.counts)

    async def after(dsn):
        now = Counter((await residencies(dsn)).values())
        assert now[None] == 0
        assert (await reasons(dsn))["state and postcode elsewhere"] == numbers[FOREIGN[0]]
        assert (await reasons(dsn))["postcode elsewhere"] == numbers[FOREIGN[1]]

    await cycle(
        older.dsn,
        NAME,
        rows=older.counts["users.residency_null"],
        after=after,
        arguments={"default": "TEMPORARY_RESIDENT", "foreign": "NON_RESIDENT"},
    )
    async with engine(older.dsn) as runner:
        with pytest.raises(UsageError, match="RESIDENT, NON_RESIDENT, TEMPORARY_RESIDENT"):
            await runner.plan(NAME, {"default": "resident"})


async def test_snake_case_text_columns(oldest):
    async def after(dsn):
        now = Counter((await residencies(dsn, "tax_residency")).values())
        assert now == {"RESIDENT": 20, "NON_RESIDENT": 20}

    await cycle(oldest.dsn, NAME, rows=oldest.counts["users.residency_null"], after=after)


async def test_where_every_user_has_one_it_does_not_apply(pristine):
    async with engine(pristine) as runner:
        plan = await runner.plan(NAME)
    assert (plan.applicable, plan.reason) == (
        False,
        "every user has a tax residency: taxResidency is NOT NULL",
    )


CASES = {
    ("nsw", "2000"): "state and postcode",
    (" N.S.W. ", None): "state",
    ("new  south wales", None): "state",
    ("", "0800"): "postcode",
    (None, " 0200 "): "postcode",
    ("Tas", "2000"): "state and postcode",  # a mismatch of two Australian places is the validator's
    ("", ""): "no evidence",
    (None, None): "no evidence",
    ("encrypted:v1:x:y", None): "no evidence",
    ("Auckland", "1010"): "unclear-address",
    ("NSW", "94110"): "unclear-address",
    ("CA", "94110"): "foreign-address",
    (None, "6799"): "foreign-address",
    (None, "0199"): "foreign-address",
    ("Bayern", None): "foreign-address",
    ("新南威尔士", None): "foreign-address",
}


async def test_what_counts_as_evidence(database, keyed):
    await script(
        database, 'CREATE TABLE users (id int PRIMARY KEY, state text, postcode text, "taxResidency" text)'
    )
    for key, (where, code) in enumerate(CASES):
        await rows(database, "INSERT INTO users VALUES ($1, $2, $3, NULL)", key, where, code)
    left = {str(key): code for key, code in enumerate(CASES.values()) if code.endswith("-address")}

    async def after(dsn):
        assert await reasons(dsn) == Counter(code for code in CASES.values() if not code.endswith("-address"))

    report = await cycle(database, NAME, rows=len(CASES) - len(left), left=len(left), after=after)
    async with engine(database) as runner:
        assert {r.key[0]: r.code for r in await runner.quarantine(report.run_id)} == left


async def test_postcodes_as_numbers_and_no_state_at_all(database, keyed):
    await script(
        database,
        "CREATE TABLE users (id int PRIMARY KEY, postcode int, tax_residency varchar(30));"
        "INSERT INTO users VALUES (1, 800), (2, 94110), (3, NULL), (4, 2000)",
    )

    async def after(dsn):
        assert await reasons(dsn) == {"postcode": 2, "no evidence": 1}

    report = await cycle(database, NAME, rows=3, left=1, after=after)
    assert any("has no column state" in warning for warning in report.warnings)


async def test_beside_an_application_that_writes(older):
    report, _ = await run_beside(older.dsn, NAME, {"users": ("id", "name")})
    assert report.changed_rows == older.counts["users.residency_null"] - foreign(older.counts)


async def test_evidence_that_the_application_writes_meanwhile_is_judged_anew(older):
    """A row whose postcode is no postcode any more is left; none is filled by what it held before."""
    report, application = await run_beside(older.dsn, NAME, {"users": ("id", "postcode")}, rolled_back=False)
    assert application.commits
    without = {key for key, residency in (await residencies(older.dsn)).items() if residency is None}
    async with engine(older.dsn) as runner:
        assert without == {record.key[0] for record in await runner.quarantine(report.run_id)}
    assert report.changed_rows + len(without) == older.counts["users.residency_null"]


async def test_it_may_be_killed_anywhere(older_few):
    report = await assert_crash_safe(
        NAME, older_few.dsn, environ={"FIELD_ENCRYPTION_KEY": KEY}, batch_size=3, random_kills=1
    )
    assert report.changed_rows == older_few.counts["users.residency_null"] - foreign(older_few.counts)
