"""`checksum` and `checksum --diff` from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable

import asyncpg
from calling import Datamig


async def test_checksums_and_equality(migrating: Datamig, sample: str) -> None:
    """As a table for people and one document for programs; 0 when equal, 2 for a wrong name."""
    shown = migrating("checksum", "--tables=users,transactions")
    assert shown.returncode == 0, shown.stderr
    document = json.loads(migrating("checksum", "--tables=users,transactions", "--json").stdout)
    assert document["schema"] == "datamig/checksum/1"
    assert set(document["tables"]) == {"users", "bank_transactions"}
    for table, found in document["tables"].items():
        assert table in shown.stdout
        assert found["checksum"] in shown.stdout
        assert f"{found['rows']:,}" in shown.stdout

    equal = migrating("checksum", "--diff", sample)
    assert equal.returncode == 0, equal.stderr
    assert "Equal" in equal.stdout
    wrong = migrating("checksum", "--tables=userz")
    assert (wrong.returncode, "userz" in wrong.stderr) == (2, True)


async def test_one_row_that_differs_is_named(datamig: Datamig, database_from: Callable[[str], str]) -> None:
    bare = "CREATE TABLE notes (id int PRIMARY KEY, note text); INSERT INTO notes VALUES (1, 'a'), (2, 'b');"
    here, there = database_from("template0"), database_from("template0")
    for dsn, more in ((here, ""), (there, "UPDATE notes SET note = 'secret' WHERE id = 2")):
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(bare + more)
        finally:
            await connection.close()
    done = datamig("checksum", "--diff", there, "--json", DATABASE_URL=here)
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "datamig/checksum-diff/1"
    assert document["tables"]["notes"]["rows"] == [{"status": "differs", "key": ["2"]}]
    shown = datamig("checksum", "--diff", there, DATABASE_URL=here)
    assert "differs     2" in shown.stdout
    assert "secret" not in shown.stdout + done.stdout
