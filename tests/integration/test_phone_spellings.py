"""Each spelling of a phone number in the sample is judged as the sample's own counts judge it."""

from __future__ import annotations

import asyncpg
import pytest
from sample_predicates import phone_kind

from taaxdog_datamig.demo.statements import read
from taaxdog_datamig.identifiers import phone


@pytest.fixture
async def spellings(database):
    """(slot, text): forty slots, fifty numbers in each, from the borders of the range as well."""
    connection = await asyncpg.connect(database)
    await connection.execute(read("rows/functions"))
    rows = await connection.fetch("""
        SELECT slot, pg_temp.phone(slot, r) AS text FROM generate_series(0, 39) AS slot,
            (SELECT * FROM generate_series(0, 39999999, 833333) UNION VALUES (39999999)) AS numbers (r)""")
    await connection.close()
    return [(row["slot"], row["text"]) for row in rows if row["text"]]


def kind_of(text):
    found = phone.classify(text)
    if found.kind in {"e164", "foreign"}:
        return "e164" if found.value == text else "unnormalised"
    return {"national": "national_only"}.get(found.kind, found.kind)


async def test_it_agrees_with_the_count_of_unnormalised_national_and_invalid_numbers(spellings):
    assert {slot for slot, _ in spellings} == set(range(40)) - {36, 37, 38}
    assert {slot for slot, text in spellings if kind_of(text) != phone_kind(text)} == set()
    assert {kind_of(text) for _, text in spellings} == {"e164", "unnormalised", "national_only", "invalid"}
