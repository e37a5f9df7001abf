"""Older installations: what is not there is skipped with a reason, and no check breaks on the rest."""

from __future__ import annotations

from functools import partial

import pytest
from planting import validated

from tests.older import build_older, build_oldest
from tests.sample import KEY, LEGACY_KEY

KEYS = {"field_encryption_key": KEY, "field_encryption_legacy_key": LEGACY_KEY.hex()}


@pytest.mark.parametrize(
    ("name", "build"), [("older_sixty", partial(build_older, users=60)), ("oldest", build_oldest)]
)
async def test_every_check_is_made_or_skipped_with_a_reason(template_database, database_from, name, build):
    dsn = database_from(template_database(name, build))
    report = await validated(dsn, settings=KEYS)
    assert [(each.id, each.error) for each in report.errors] == []
    assert {each.rule for each in report.checks if each.failed} >= {"phone-not-e164", "plaintext-tfn"}
    assert all(
        "no column" in each.skipped or "no table" in each.skipped for each in report.checks if each.skipped
    )
