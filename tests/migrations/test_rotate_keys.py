"""From one key to another: online, proven, undone; and letting go of what nobody needs any more."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import orjson
import pytest

from taaxdog_datamig import RunOptions
from taaxdog_datamig.crypto import generate_key
from taaxdog_datamig.engine.keyring_use import key_uses, rotate
from taaxdog_datamig.engine.letting_go import purge_runs
from taaxdog_datamig.errors import KeyWrong, QuarantineExceeded, RefusedError, UsageError
from taaxdog_datamig.migrations.rotate_keys import RotateKeys
from tests.sample import KEY, NAME, engine, rows, script

NEW = generate_key()
OLD_ONLY = {"FIELD_ENCRYPTION_KEYS": f"old:{KEY}"}
BOTH = {"FIELD_ENCRYPTION_KEYS": f"new:{NEW},old:{KEY}"}
NEW_ONLY = {"FIELD_ENCRYPTION_KEYS": f"new:{NEW}"}
TABLES = """
CREATE TABLE users (id text PRIMARY KEY, tfn text, "taxFileNumber" text, "twoFactorSecret" text);
INSERT INTO users SELECT 'u' || n, '123456782', CASE n % 3 WHEN 0 THEN '876543210' END, ''
FROM generate_series(1, 300) AS n;
"""


def changing(dsn, environ):
    return engine(dsn, RotateKeys, environ=environ)


async def kids(dsn):
    found = await rows(dsn, "SELECT split_part(tfn, ':', 3), count(*) FROM users GROUP BY 1 ORDER BY 1")
    return dict(map(tuple, found))


@pytest.fixture
async def sealed(database):
    """Sealed under the old key."""
    await script(database, TABLES)
    async with changing(database, OLD_ONLY) as runner:
        await runner.run(NAME)
    return database


async def test_keys_are_changed_and_the_old_one_may_go(sealed):
    async with changing(sealed, NEW_ONLY) as runner:
        with pytest.raises(KeyWrong):
            await runner.run(NAME, RunOptions(force=True))
        with pytest.raises(UsageError, match="the only one"):
            await rotate(runner)
    async with changing(sealed, BOTH) as runner:
        before = {use.kid: use for use in await key_uses(runner.db)}
        assert before["old"].tokens == {"users.tfn": 300, "users.taxFileNumber": 100}
        assert (before["old"].runs, before["old"].right, before["new"].tokens) == (1, True, {})
        dry = await rotate(runner, RunOptions(dry_run=True))
        assert (dry.run.changed_rows, await kids(sealed)) == (300, {"old": 300})
        done = await rotate(runner, RunOptions(batch_size=50))
        assert (done.run.changed_rows, done.primary, done.retired) == (300, "new", ("old",))
        assert done.rewrapped_runs == 1
        assert await kids(sealed) == {"new": 300}
        again = await rotate(runner)
        assert (again.run.changed_rows, again.retired) == (0, ())
    async with changing(sealed, NEW_ONLY) as runner:
        assert [use.kid for use in await key_uses(runner.db)] == ["new"]
        assert (await runner.run(NAME, RunOptions(force=True))).changed_rows == 0
        first = (await runner.history())[-1].run_id
        with pytest.raises(RefusedError, match="rotate-keys has changed the same tables since"):
            await runner.rollback(first)
        undone = await runner.rollback(done.run.run_id)
        assert (undone.restored_rows, await kids(sealed)) == (300, {"old": 300})
        # The new key opens what the old one had wrapped.
        assert (await runner.rollback(first)).restored_rows == 300
    assert await rows(sealed, "SELECT DISTINCT tfn FROM users") == [("123456782",)]


async def test_a_token_of_a_key_that_nobody_has_stops_the_change(sealed):
    await script(sealed, "UPDATE users SET tfn = replace(tfn, ':old:', ':gone:') WHERE id = 'u7'")
    async with changing(sealed, BOTH) as runner:
        with pytest.raises(QuarantineExceeded):
            await rotate(runner)
        assert await kids(sealed) == {"gone": 1, "old": 299}
        done = await rotate(runner, RunOptions(max_quarantine=1))
        assert (done.run.changed_rows, done.run.quarantined_rows, done.retired) == (299, 1, ())
        [refused] = await runner.quarantine(done.run.run_id)
        assert (refused.key, refused.code) == (("u7",), "foreign-key-id")


async def test_the_audit_trail_is_exported_so_that_anybody_can_walk_it(sealed):
    async with changing(sealed, OLD_ONLY) as runner:
        lines = [orjson.loads(line) async for line in runner.audit_lines()]
        of_run = [line async for line in runner.audit_lines(NAME)]
        assert await runner.verify_audit() == (len(lines), None)
        previous = hashlib.sha256(b"datamig/audit/v1").digest()
        for line in lines:
            body = f"{line['seq']}\n{line['event']}\n{line['run_id'] or ''}\n{line['entry']}"
            assert line["previous"] == previous.hex()
            previous = hashlib.sha256(previous + body.encode()).digest()
            assert line["hash"] == previous.hex()
        assert 0 < len(of_run) <= len(lines)
        await script(sealed, "UPDATE datamig.audit SET entry = replace(entry, '{', '{ ') WHERE seq = 2")
        assert await runner.verify_audit() == (len(lines), 2)


@pytest.mark.parametrize("shred", [False, True])
async def test_before_images_are_let_go_of_and_the_rest_stays(sealed, shred):
    async with changing(sealed, OLD_ONLY) as runner:
        assert await purge_runs(runner.db, timedelta(days=1), shred=shred) == []
        shown = await purge_runs(runner.db, timedelta(0), shred=shred, dry_run=True)
        assert await rows(sealed, "SELECT count(*) FROM datamig.before_images") != [(0,)]
        assert await purge_runs(runner.db, timedelta(0), shred=shred) == shown
        [purged] = shown
        assert (purged.images > 0, purged.size > 0, purged.shredded) == (True, True, shred)
        assert await rows(sealed, "SELECT count(*) FROM datamig.before_images") == [(0,)]
        assert await rows(sealed, "SELECT count(*) FROM datamig.runs WHERE data_key IS NULL") == [
            (int(shred),)
        ]
        with pytest.raises(RefusedError, match="shredded" if shred else "are gone"):
            await runner.rollback(NAME)
        assert [run.migration for run in await runner.history()] == [NAME]
        assert await purge_runs(runner.db, timedelta(0), shred=shred) == []
        assert (await runner.verify_audit())[1] is None
