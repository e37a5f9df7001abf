from __future__ import annotations

import pytest

from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig.profile import Profile

SENSITIVE = {
    "users.tfn",
    "users.taxFileNumber",
    "users.twoFactorSecret",
    "users.mobile",
    "basiq_users.mobile",
    "bank_accounts.account_number",
    "bank_accounts.bsb",
}


def test_the_sensitive_columns_are_these_and_no_others():
    tables = Profile.load().tables.values()
    assert {f"{table.name}.{column.name}" for table in tables for column in table.sensitive} == SENSITIVE


def test_the_words_of_the_guide_mean_bank_tables():
    profile = Profile.load()
    assert profile.resolve("accounts").name == "bank_accounts"
    assert profile.resolve("transactions").name == "bank_transactions"
    assert profile.resolve("oauth_accounts").names == ("accounts",)


def test_a_name_that_is_not_listed_stands_for_itself():
    spec = Profile.load().resolve("my_table")
    assert (spec.name, spec.names, spec.sensitive) == ("my_table", ("my_table",), ())


def test_overrides_are_merged_and_new_tables_and_columns_added():
    profile = Profile.load(
        {
            "schema": "app",
            "tables": {
                "users": {"names": ["people"], "columns": {"passport": {"sensitive": True}}},
                "licences": {"aliases": ["licenses"], "columns": {"number": {"sensitive": True}}},
            },
        }
    )
    users = profile.tables["users"]
    assert (profile.schema, users.names) == ("app", ("people",))
    assert {column.name for column in users.sensitive} == {
        "tfn", "taxFileNumber", "twoFactorSecret", "mobile", "passport"
    }  # fmt: skip
    assert users.columns["tfn"].names == ("tfn",)
    assert profile.resolve("licenses").sensitive[0].name == "number"
    assert profile.tables["goals"] == Profile.load().tables["goals"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"table": {}}, "unknown key 'table'"),
        ({"schema": 3}, "schema must be a name"),
        ({"schema": ""}, "schema must be a name"),
        ({"tables": 3}, "tables must be a table"),
        ({"tables": {"users": 3}}, r"tables\.users must be a table"),
        ({"tables": {"users": {"name": ["x"]}}}, r"unknown key tables\.users\.name"),
        ({"tables": {"users": {"names": "people"}}}, r"tables\.users\.names must be a list"),
        ({"tables": {"users": {"names": [3]}}}, r"tables\.users\.names must be a list"),
        ({"tables": {"users": {"names": [""]}}}, r"tables\.users\.names must be a list"),
        ({"tables": {"users": {"optional": "yes"}}}, r"tables\.users\.optional must be a bool"),
        ({"tables": {"users": {"columns": ["tfn"]}}}, r"tables\.users\.columns must be a dict"),
        ({"tables": {"users": {"columns": {"tfn": 3}}}}, r"tables\.users\.columns\.tfn must be a table"),
        ({"tables": {"users": {"columns": {"tfn": {"secret": True}}}}}, r"unknown key .*tfn\.secret"),
        ({"tables": {"users": {"columns": {"tfn": {"sensitive": 1}}}}}, r"tfn\.sensitive must be a bool"),
        ({"tables": {"users": {"aliases": ["accounts"]}}}, "'accounts' stands for both"),
        ({"tables": {"users": {"aliases": ["goals"]}}}, "'goals' stands for both goals and users"),
        (
            {"tables": {"one": {"aliases": ["x"]}, "two": {"aliases": ["x"]}}},
            "'x' stands for both one and two",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_named(overrides, words):
    with pytest.raises(SettingsError, match=words):
        Profile.load(overrides)
