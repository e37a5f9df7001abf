"""What a validation may not see, cannot wait for, or loses: told for what it is, and the others are made."""

from __future__ import annotations

import time

import anyio
import asyncpg
import pytest
from planting import result, validated

from taaxdog_datamig import Database, Settings, Validator
from taaxdog_datamig.errors import DatabaseUnavailable, ServerRefused
from taaxdog_datamig.validation import FunctionCheck, Rule, validator
from taaxdog_datamig_cli.main import main
from tests.sample import rows, script


def declared(table, violation="true", name=None):
    return {
        "id": name or f"any-{table.replace('_', '-')}",
        "title": "Any row",
        "category": "data-consistency",
        "severity": "low",
        "table": table,
        "violation": violation,
    }


TWO = {"checks": (declared("goals"), declared("receipts"))}
IDS = ["any-goals", "any-receipts"]


async def made(dsn, settings=TWO, checks=IDS, **asked):
    return await validated(dsn, settings=settings, checks=checks, **asked)


@pytest.fixture
async def reader(clean):
    """The URL of a role without privileges but SELECT on all tables, dropped afterwards."""
    name = f"reader_{time.monotonic_ns()}"
    await script(clean, f"CREATE ROLE {name} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    yield name, clean.replace("postgres@", f"{name}@")
    await script(clean, f"DROP OWNED BY {name}; DROP ROLE {name}")


async def test_a_table_that_the_role_may_not_read_is_told_with_the_grant(clean, reader):
    name, dsn = reader
    await script(clean, f"REVOKE SELECT ON goals FROM {name}")
    report = await made(dsn)
    assert 'GRANT SELECT ON "public"."goals"' in result(report, "any-goals").error
    assert result(report, "any-receipts").violations > 0
    assert not report.valid


async def test_rows_that_row_level_security_hides_are_not_taken_for_none(clean, reader):
    _, dsn = reader
    await script(clean, "ALTER TABLE goals ENABLE ROW LEVEL SECURITY")
    report = await made(dsn)
    assert "BYPASSRLS" in result(report, "any-goals").error
    assert result(report, "any-receipts").violations > 0


async def test_a_table_that_is_being_altered_is_left_out(clean):
    connection = await asyncpg.connect(clean)
    try:
        await connection.execute("BEGIN; LOCK TABLE goals IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        report = await made(clean, TWO | {"lock_timeout": 0.02})
        assert time.monotonic() - began < 10
    finally:
        await connection.close()
    assert "has its table locked" in result(report, "any-goals").error
    assert result(report, "any-receipts").violations > 0
    assert not report.valid


async def test_a_statement_that_takes_too_long_is_reported_as_not_made(clean):
    slow = declared("goals", "pg_sleep(0.2) IS NOT NULL")
    async with Database.connect(settings=Settings(database_url=clean, checks=(slow, TWO["checks"][1]))) as db:
        report = await Validator(db, timeout=0.5).validate(checks=IDS)
    assert result(report, "any-goals").error == "it was not done within the time for one statement"
    assert result(report, "any-receipts").violations > 0


def test_the_command_takes_the_time(clean, tmp_path, capsys):
    config = tmp_path / "datamig.toml"
    config.write_text(
        "[[checks]]\n"
        + "\n".join(f'{k} = "{v}"' for k, v in declared("goals", "pg_sleep(9) IS NULL").items())
    )
    words = ["--database", clean, "--config", str(config)]
    assert main(["validate", "--check", "any-goals", "--timeout", "0.2", *words]) == 3
    assert "not done within the time" in capsys.readouterr().out


async def test_a_server_that_only_reads_is_validated(clean):
    ((name,),) = await rows(clean, "SELECT current_database()")
    await script(clean, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    assert not (await made(clean)).errors


async def test_two_validations_at_once_find_the_same(clean):
    found = []

    async def one():
        report = await validated(clean)
        found.append({check.id: (check.violations, check.sample_keys) for check in report.checks})

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        group.start_soon(one)
    assert found[0] == found[1]


@pytest.mark.parametrize("jobs", [1, 2])
async def test_a_connection_that_is_cut_is_one_clear_error(clean, monkeypatch, jobs):
    async def cut(connection, _):
        (pid,) = await connection.fetchrow("SELECT pg_backend_pid()")
        await rows(clean, "SELECT pg_terminate_backend($1)", pid)
        await connection.fetchval("SELECT 1")

    rule = Rule(id="cut", title="", category="security", severity="low", meaning="", remedy="")
    monkeypatch.setattr(validator, "builtin_checks", lambda _: [FunctionCheck(rule=rule, table="", find=cut)])
    async with Database.connect(settings=Settings(database_url=clean, **TWO)) as db:
        with pytest.raises(DatabaseUnavailable, match="validating: the connection to the server was lost"):
            await Validator(db, jobs=jobs).validate()


async def test_a_conflict_with_recovery_says_what_to_do(clean, monkeypatch):
    async def conflict(*_):
        raise asyncpg.SerializationError("canceling statement due to conflict with recovery")

    rule = Rule(id="conflict", title="", category="security", severity="low", meaning="", remedy="")
    check = FunctionCheck(rule=rule, table="", find=conflict)
    monkeypatch.setattr(validator, "builtin_checks", lambda _: [check])
    async with Database.connect(settings=Settings(database_url=clean)) as db:
        with pytest.raises(ServerRefused, match="max_standby_streaming_delay"):
            await Validator(db).validate()
