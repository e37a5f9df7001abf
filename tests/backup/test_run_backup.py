"""The backup before a run: made before anything changes, of all that the run touches, or there is no run."""

from __future__ import annotations

import pytest

from taaxdog_datamig import Migration, RunOptions
from taaxdog_datamig.backup import Policy
from taaxdog_datamig.errors import BackupError, NotReversible, RefusedError
from taaxdog_datamig.migrations import BUILTIN
from tests.backup.conftest import manager_of
from tests.sample import engine, rows, script, state

ALL = RunOptions(max_quarantine=1000)
NAMES = [kind.name for kind in BUILTIN if kind.name != "optimize-database"]
#: What these mend is in older installations alone.
OLDER = {"populate-metadata", "set-tax-residency", "cleanup-soft-deleted"}
#: These take rows that refer to nothing, which a restore brings back only when it is told to.
ORPHANS = {"cleanup-orphaned", "cleanup-orphaned-data"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHIVE_DIR", str(tmp_path / "archives"))
    return tmp_path / "backups"


def running(dsn, folder, *migrations, **settings):
    """A runner whose runs back up into that folder."""
    return engine(dsn, *migrations, backup_before_run=True, backup_dir=folder, **settings)


def made_in(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


async def backup_of(dsn, report, folder):
    async with manager_of(dsn, folder) as manager:
        return await manager.show(report.backup_id)


async def contents(dsn):
    """Rows and checksums, without definitions: those that a run widens stay so."""
    return {table: sums for table, sums in (await state(dsn)).items() if table != "catalog"}


@pytest.mark.parametrize("name", NAMES)
async def test_all_that_a_run_changes_is_in_its_backup_and_comes_back(name, installation, folder):
    dsn = installation(name in OLDER)
    before = await contents(dsn)
    async with running(dsn, folder) as runner:
        report = await runner.run(name, ALL)
        assert (await runner.status(report.run_id))[0].backup_id == report.backup_id
    assert made_in(folder) == [report.backup_id]
    after = await contents(dsn)
    changed = {table.strip('"') for table in before if before[table] != after[table]}
    assert changed
    backup = await backup_of(dsn, report, folder)
    held = {label.removeprefix("public."): table.rows for label, table in backup.tables.items()}
    assert changed <= held.keys()
    assert held.items() <= {table.strip('"'): sums[0] for table, sums in before.items()}.items()
    assert (backup.name, backup.with_schema, backup.encrypted) == (f"before {name}", False, True)
    async with manager_of(dsn, folder) as manager:
        if name in ORPHANS:
            with pytest.raises(RefusedError, match=r"is NOT VALID\).*nothing was changed.*--orphans keep"):
                await manager.restore(report.backup_id)
            assert await contents(dsn) == after
        await manager.restore(report.backup_id, orphans="keep" if name in ORPHANS else "refuse")
    assert await contents(dsn) == before


async def test_what_fails_to_be_backed_up_is_not_changed(sample, folder):
    folder.write_text("no folder")
    before = await state(sample)
    async with running(sample, folder) as runner:
        with pytest.raises(BackupError, match=r"cannot (use|write).*nothing was changed.*--skip-backup"):
            await runner.run("encrypt-user-data", ALL)
        assert await state(sample) == before
        (failed,) = await runner.history()
        assert (failed.status, failed.backup_id) == ("failed", None)
        folder.unlink()
        assert (await runner.run("encrypt-user-data", ALL)).backup_id in made_in(folder)


async def test_a_role_that_may_not_read_all_of_it_changes_nothing(sample, folder):
    async with running(sample, folder, Everywhere) as runner:
        (name,) = (await rows(sample, "SELECT current_database()"))[0]
        await script(sample, "CREATE POLICY none ON goals USING (false)")
        await script(
            sample,
            f"""DROP ROLE IF EXISTS "may_{name}"; CREATE ROLE "may_{name}" LOGIN;
            GRANT pg_read_all_data, pg_write_all_data TO "may_{name}";
            GRANT CREATE ON DATABASE "{name}" TO "may_{name}";
            ALTER TABLE goals ENABLE ROW LEVEL SECURITY""",
        )
    try:
        as_role = sample.replace("://postgres@", f"://may_{name}@")
        assert as_role != sample
        async with running(as_role, folder, Everywhere) as runner:
            with pytest.raises(BackupError, match=r"row-level security.*public\.goals.*nothing was changed"):
                await runner.run("everywhere", ALL)
        assert (await rows(sample, "SELECT count(*) FROM users WHERE name = 'everywhere'"))[0][0] == 0
    finally:
        await script(sample, f'DROP OWNED BY "may_{name}" CASCADE; DROP ROLE "may_{name}"')


async def test_no_backup_where_none_is_wanted_or_nothing_is_changed(sample, folder):
    async with running(sample, folder) as runner:
        assert (await runner.run("encrypt-user-data", RunOptions(dry_run=True))).backup_id is None
        assert (await runner.run("optimize-database")).backup_id is None
        skipped = RunOptions(max_quarantine=1000, skip_backup=True)
        assert (await runner.run("encrypt-user-data", skipped)).backup_id is None
    async with engine(sample, backup_dir=folder, backup_before_run=False) as runner:
        assert (await runner.run("cleanup-sessions", ALL)).backup_id is None
    assert made_in(folder) == []


async def test_without_a_key_the_run_warns_that_its_backup_is_not_sealed(sample, folder):
    async with running(sample, folder, environ={"ARCHIVE_DIR": str(folder.parent)}) as runner:
        report = await runner.run("cleanup-sessions", ALL)
    assert any("not sealed" in warning and str(folder) in warning for warning in report.warnings)
    async with running(sample, folder) as runner:
        report = await runner.run("cleanup-audit-logs", ALL)
    assert not any("not sealed" in warning for warning in report.warnings)


class Everywhere(Migration):
    """Says nothing of what it changes."""

    name = "everywhere"
    version = "1.0.0"
    description = "Renames."

    async def up(self):
        async def rename(connection, found):
            await connection.execute(
                "UPDATE users SET name = 'everywhere' WHERE id = ANY ($1::text[])",
                [row["id"] for row in found],
            )
            return len(found)

        due = "SELECT id FROM users WHERE name <> 'everywhere' AND id < 'c' ORDER BY id"
        await self.process_batch(due, rename)


class Somewhere(Everywhere):
    """Says it."""

    name = "somewhere"
    tables = ("users",)


async def test_code_backs_up_what_it_declares_or_everything(sample, folder):
    async with running(sample, folder, Everywhere, Somewhere) as runner:
        every = await backup_of(sample, await runner.run("everywhere", ALL), folder)
        some = await backup_of(sample, await runner.run("somewhere", ALL), folder)
    assert set(some.tables) == {"public.users"}
    assert {"public.users", "public.bank_transactions"} < set(every.tables)


async def test_a_run_that_cannot_be_undone_says_which_backup_can(sample, folder):
    before = await contents(sample)
    async with running(sample, folder, Somewhere) as runner:
        report = await runner.run("somewhere", ALL)
        with pytest.raises(NotReversible, match=f"`datamig restore {report.backup_id}`"):
            await runner.rollback("somewhere")
        (record,) = await runner.status("somewhere")
        assert report.backup_id in record.rollback
    async with manager_of(sample, folder) as manager:
        await manager.restore(report.backup_id)
    assert await contents(sample) == before


async def test_cleaning_keeps_the_backups_of_runs(sample, folder):
    async with running(sample, folder) as runner:
        report = await runner.run("encrypt-user-data", ALL)
    async with manager_of(sample, folder) as manager:
        await manager.create()
        verdicts = {verdict.id: verdict for verdict in await manager.clean(Policy(keep=1), apply=False)}
    assert not verdicts[report.backup_id].goes
