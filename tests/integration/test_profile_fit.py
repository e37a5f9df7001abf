from __future__ import annotations

import pytest

from taaxdog_datamig.migration import Changes, ColumnMigration, MigrationContext, NotApplicable
from taaxdog_datamig.pg.database import Database
from taaxdog_datamig.profile import FittedProfile, Profile
from taaxdog_datamig.settings import Settings


async def fit(connection, overrides=None):
    return await FittedProfile.fit(connection, Profile.load(overrides))


async def test_nothing_is_missing_in_the_sample(schema_database):
    async with Database.connect(schema_database, settings=Settings()) as db, db.acquire() as connection:
        fitted = await fit(connection)
        assert fitted.missing == ()
        assert fitted.tables.keys() == fitted.profile.tables.keys()
        found = {f"{name}.{column}" for name, table in fitted.tables.items() for column in table.sensitive}
        assert found >= {"users.tfn", "bank_accounts.bsb", "basiq_users.mobile"}
        # Words of the guide, although there is a table of the name.
        assert (await fitted.table(connection, "accounts")).relation.name == "bank_accounts"
        assert (await fitted.table(connection, "transactions")).relation.name == "bank_transactions"
        assert (await fitted.table(connection, "oauth_accounts")).relation.name == "accounts"


@pytest.fixture
async def old(connection):
    """An installation with other names and fewer columns."""
    await connection.execute(
        """CREATE TABLE "User" (id text PRIMARY KEY, tfn text, tax_file_number text, email text);
        CREATE TABLE transactions (id text PRIMARY KEY);
        CREATE TABLE goals (id text PRIMARY KEY);
        CREATE TABLE "myTable" (id text PRIMARY KEY, v text);
        CREATE SCHEMA app; CREATE TABLE app.goals (id text PRIMARY KEY, "deletedAt" date)"""
    )
    return connection


async def test_the_first_name_that_exists_is_taken(old):
    fitted = await fit(old)
    users = fitted.tables["users"]
    assert users.relation.name == "User"
    assert users.column("taxFileNumber").name == "tax_file_number"
    assert {name: column.name for name, column in users.sensitive.items()} == {
        "tfn": "tfn", "taxFileNumber": "tax_file_number"
    }  # fmt: skip
    await old.execute("CREATE TABLE bank_transactions (id text PRIMARY KEY)")
    assert (await fit(old)).tables["bank_transactions"].relation.name == "bank_transactions"


async def test_what_is_missing_is_told_and_what_is_optional_is_not(old):
    missing = (await fit(old)).missing
    assert {"users.twoFactorSecret", "users.phone", "bank_accounts", "sessions"} <= set(missing)
    assert not {"users.mobile", "users.deletedAt", "users.tfn", "goals", "bank_transactions"} & set(missing)
    assert "budgets" not in (await fit(old, {"tables": {"budgets": {"optional": True}}})).missing


async def test_a_schema_of_ones_own_is_the_only_one_looked_at(old):
    fitted = await fit(old, {"schema": "app"})
    assert fitted.tables.keys() == {"goals"}
    assert fitted.tables["goals"].relation.label == "app.goals"
    assert fitted.tables["goals"].column("deletedAt").type == "date"
    assert "users" in fitted.missing


async def test_any_table_and_column_is_known_by_its_physical_name(old):
    fitted = await fit(old)
    table = await fitted.table(old, "myTable")
    assert (table.spec.name, table.column("v").name, table.column("w")) == ("myTable", "v", None)
    assert await fitted.table(old, "mytable") is None
    assert (await fitted.table(old, "User")).spec.name == "users"


class Plain(ColumnMigration):
    name, version, description, pending = "plain", "1", "", "true"
    columns = ("v",)

    def transform(self, row):
        return Changes(v=row["v"])


@pytest.mark.parametrize("table", ["users", "User"])
@pytest.mark.parametrize(
    ("column", "sensitive"),
    [("tfn", True), ("taxFileNumber", True), ("tax_file_number", True), ("email", False)],
)
async def test_a_sensitive_column_is_sensitive_by_whichever_name(
    db, old, table, column, sensitive, monkeypatch
):
    monkeypatch.setattr(Plain, "table", table, raising=False)
    monkeypatch.setattr(Plain, "columns", (column,), raising=False)
    profile = await fit(old)
    context = MigrationContext(db=db, settings=db.settings, profile=profile, keyring=None, dry_run=True)
    (target,) = await Plain(context).targets()
    assert (target.sensitive, target.shape.table) == (sensitive, "users")


async def test_a_migration_of_a_table_that_is_not_there_does_not_apply(db, old, monkeypatch):
    monkeypatch.setattr(Plain, "table", "sessions", raising=False)
    context = MigrationContext(
        db=db, settings=db.settings, profile=await fit(old), keyring=None, dry_run=True
    )
    with pytest.raises(NotApplicable, match="sessions"):
        await Plain(context).targets()
