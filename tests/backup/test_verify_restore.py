"""`verify` with a restore: what comes back is compared with the backup, and nothing is left behind."""

from __future__ import annotations

import random

import attrs
import pytest

from taaxdog_datamig.backup import contents, proving
from taaxdog_datamig.backup.loading import OpenBackup
from taaxdog_datamig.backup.rowsums import RowSum
from taaxdog_datamig.errors import BackupError, RefusedError
from tests.backup.conftest import manager_of
from tests.backup.test_restore_empty import ODD
from tests.sample import rows, script


@pytest.fixture
async def disturbing(monkeypatch, server_dsn):
    """`disturbing(sql)`: restores are real; what they made is then changed, as a fault of theirs would."""
    made, statements = [], []

    async def restore(db, backup, **more):
        made.append(db.server.database)
        report = await real(db, backup, **more)
        for statement in statements:
            await script(db.dsn, statement)
        return report

    real = proving.restore
    monkeypatch.setattr(proving, "restore", restore)
    yield statements.append
    left = await rows(server_dsn, "SELECT FROM pg_database WHERE datname = ANY ($1::text[])", made)
    assert made
    assert not left, "the database that a backup was restored into is dropped"


async def verify(dsn, folder, backup="latest"):
    async with manager_of(dsn, folder) as manager:
        return await manager.verify(backup, on=manager.db)


async def test_every_kind_of_table_restores_and_the_certificate_says_so(database, tmp_path, disturbing):
    await script(database, ODD)
    async with manager_of(database, tmp_path) as manager:
        made = await manager.create()
        verified = (await manager.verify(made.id, on=manager.db)).verified
        assert (await manager.show(made.id)).verified == verified
    assert (verified.proof, verified.rows, verified.definitions) == ("restore", made.rows, True)
    assert verified.server_version == made.server_version


async def test_parts_loaded_side_by_side_are_compared_row_for_row(database, tmp_path, monkeypatch):
    await script(
        database,
        "CREATE TABLE wide (id int, t text); INSERT INTO wide SELECT n, repeat('x', n % 900)"
        " FROM generate_series(1, 3000) AS n; INSERT INTO wide SELECT 1, null FROM generate_series(1, 9)",
    )
    monkeypatch.setattr(contents, "PIECE", 100_000)
    async with manager_of(database, tmp_path) as manager:
        await manager.create()
        assert len((await manager.find("latest"))[0].tables[0].parts) > 5
    assert (await verify(database, tmp_path)).verified.rows == 3009


@pytest.mark.parametrize(
    ("tampering", "told"),
    [
        (
            "UPDATE users SET name = 'other' WHERE id = (SELECT min(id) FROM users)",
            r"public\.users has other rows",
        ),
        (
            "DELETE FROM sessions WHERE id = (SELECT min(id) FROM sessions)",
            r"public\.sessions has other rows",
        ),
        ("ALTER TABLE goals RENAME TO aims", r"no table public\.goals"),
        ("ALTER TABLE users ALTER COLUMN name SET DEFAULT 'nobody'", r"definitions differ.*Name: users"),
    ],
)
async def test_whatever_a_restore_does_wrong_is_found(made, pristine, disturbing, tampering, told):
    manifest, folder = made
    disturbing(tampering)
    with pytest.raises(BackupError, match=told):
        await verify(pristine, folder, manifest.id)


async def test_a_backup_without_a_schema_is_refused(made, pristine):
    manifest, folder = made
    async with manager_of(pristine, folder) as manager:
        found, key = await manager.find(manifest.id)
        without = attrs.evolve(found, schema_part=None)
        with pytest.raises(RefusedError, match="holds no schema"):
            await proving.prove(manager.db, OpenBackup(store=manager.store, manifest=without, key=key))


def test_a_sum_of_rows_knows_rows_and_not_their_order_nor_how_they_were_cut():
    def row(*fields):
        body = b"".join(
            (-1).to_bytes(4, "big", signed=True) if f is None else len(f).to_bytes(4, "big") + f
            for f in fields
        )
        return len(fields).to_bytes(2, "big") + body

    def total(*wanted, cut=7):
        found = RowSum(binary=True)
        feed = found.begin()
        stream = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join(wanted) + b"\xff\xff"
        for at in range(0, len(stream), cut):
            feed(stream[at : at + cut])
        return found.rows, found.total

    some = [row(b"1", None), row(b"2", b""), row(b"2", b""), row(b"", b"\xff\xff" * 40)]
    shuffled = random.Random(1).sample(some, len(some))
    assert total(*some) == total(*shuffled, cut=1) == total(*some, cut=1000)
    assert total(*some)[0] == 4
    assert total(*some) != total(*some[1:], some[1])
    assert total(row(b"1", None)) != total(row(b"1", b""))
