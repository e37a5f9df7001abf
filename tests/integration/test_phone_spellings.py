"""Each spelling of a phone number in the sample is judged as the sample's own counts judge it."""

from __future__ import annotations

import collections

import asyncpg
from sample_predicates import phone_kind, values

from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.identifiers import phone


def kind_of(text):
    found = phone.classify(text)
    if found.kind in {"e164", "foreign"}:
        return "e164" if found.value == text else "unnormalised"
    return "national_only" if found.kind == "national" else "invalid"


async def test_it_finds_the_numbers_that_the_sample_promises(database):
    report = await load_sample(database, users=1_000)
    connection = await asyncpg.connect(database)
    phones = await values(connection, "users", "phone")
    mobiles = await values(connection, "basiq_users", "mobile")
    await connection.close()
    for name, texts in (("users.phone", phones), ("basiq_users.mobile", mobiles)):
        found = collections.Counter(map(kind_of, texts))
        promised = {key.removeprefix(f"{name}_"): n for key, n in report.faults.items() if name in key}
        assert all(promised.values())
        assert {kind: found[kind] for kind in promised} == promised
        assert found == collections.Counter(map(phone_kind, texts))
