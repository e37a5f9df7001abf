"""Through PgBouncer in transaction mode: each transaction may be another session's."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from taaxdog_datamig import RunOptions
from taaxdog_datamig.embedded.account import Account
from taaxdog_datamig.errors import RefusedError, SettingsError
from tests.sample import engine, has_ledger, rows, script, state

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
NAME = "encrypt-user-data"
CONFIG = """
[databases]
{name} = host={host} port={port}
[pgbouncer]
pool_mode = transaction
default_pool_size = 5
server_round_robin = 1
auth_type = trust
auth_file = {folder}/users
unix_socket_dir = {folder}
listen_port = 6543
logfile = {folder}/log
ignore_startup_parameters = {ignored}
"""

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")


@pytest.fixture
def bouncer(sample, data_folder):
    """`bouncer(role, ignored)`: the sample's URL through a PgBouncer that gives its sessions in turn."""
    started = []

    def start(role, ignored=""):
        parts = urlsplit(sample)
        server = {name: values[0] for name, values in parse_qs(parts.query).items()}
        name, folder = parts.path.lstrip("/"), data_folder / str(len(started))
        folder.mkdir(parents=True)
        # The server's folder is closed to everybody else, root may not run PgBouncer.
        account = Account.choose(folder)
        (folder / "users").write_text(f'"{role}" ""\n', "utf-8")
        (folder / "config").write_text(
            CONFIG.format(name=name, folder=folder, ignored=ignored, **server), "utf-8"
        )
        account.take(folder)
        identity = {} if account.uid is None else {"user": account.uid, "group": account.gid}
        started.append(subprocess.Popen([PROGRAM, "-q", folder / "config"], **identity))
        deadline = time.monotonic() + 20
        while not (folder / ".s.PGSQL.6543").exists():
            assert started[-1].poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return f"postgresql://{role}@/{name}?host={folder}&port=6543"

    yield start
    for process in started:
        process.terminate()
        process.wait(10)


async def test_a_run_its_dry_run_and_its_rollback_through_a_pooler(sample, bouncer, role, keyed, tmp_path):
    async with role("ALTER ROLE {role} SUPERUSER", dsn=sample) as name:
        pooled = bouncer(name)
        with pytest.raises(SettingsError, match="refuses the settings of a session") as caught:
            async with engine(pooled):
                pass
        assert 'pooler = "transaction"' in caught.value.todo

        with pytest.raises(SettingsError, match=r"not set up as needed .*row_security") as caught:
            async with engine(pooled, pooler="transaction"):
                pass
        statements = re.findall(r"ALTER ROLE [^;]*;", caught.value.todo)
        await script(sample, "".join(statements))
        await rows(sample, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", name)

        before = await state(sample)
        safe = {"backup_before_run": True, "backup_dir": tmp_path / "backups"}
        async with engine(pooled, pooler="transaction", **safe) as runner:
            dry = await runner.run(NAME, RunOptions(dry_run=True, skip_validation=True))
            assert dry.changed_rows > 1000
            assert await state(sample) == before
            assert not await has_ledger(sample)
            report = await runner.run(NAME, RunOptions(workers=2))
            assert (report.status, report.changed_rows) == ("succeeded", dry.changed_rows)
            assert report.backup_id is not None
            assert (await runner.rollback(NAME)).conflicts == 0
            assert await state(sample) == before
            with pytest.raises(RefusedError, match="maintenance needs sessions of its own"):
                await runner.run("optimize-database", RunOptions(force=True))
            # Not one of several sessions was left with anything that would surprise the next.
            async with runner.db.acquire() as connection:
                for _ in range(6):
                    assert await connection.fetchval("SHOW default_transaction_read_only") == "off"
                    assert await connection.fetchval("SELECT to_regclass('pg_temp.runs')") is None


async def test_a_pooler_that_swallows_session_settings_is_found_out(sample, bouncer, role, keyed):
    """Values would be read and written in another form than before-images are."""
    async with role("ALTER ROLE {role} SUPERUSER", dsn=sample) as name:
        await script(sample, f"ALTER ROLE {name} SET intervalstyle = 'iso_8601'")
        swallowed = (
            "intervalstyle,extra_float_digits,bytea_output,xmloption,lc_monetary,row_security,jit,"
            "idle_in_transaction_session_timeout,default_transaction_isolation,synchronous_commit"
        )
        with pytest.raises(SettingsError, match=r"not as it was asked for \(.*intervalstyle"):
            async with engine(bouncer(name, swallowed)):
                pass
