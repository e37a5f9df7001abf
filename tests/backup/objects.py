"""A database with every kind of object, and what may not change when it is backed up and restored."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import asyncpg

from taaxdog_datamig import Database
from taaxdog_datamig.backup import tools
from taaxdog_datamig.checksum import checksum
from taaxdog_datamig.pg.catalog import find_relation
from taaxdog_datamig.pg.quoting import qualified

SQL = Path(__file__).parents[1] / "data" / "objects.sql"
ROLES = ("objects_owner", "objects_reader")
#: What older servers do not know.
SINCE = {
    18: """
        CREATE TABLE app.virtual (a int, b int GENERATED ALWAYS AS (a + 1) VIRTUAL, c text);
        INSERT INTO app.virtual (a, c) VALUES (1, 'x'), (NULL, NULL);
        ALTER TABLE app.eggs ADD CONSTRAINT unforced FOREIGN KEY (hen) REFERENCES app.hens NOT ENFORCED;
        CREATE TABLE app.periods (
            id int, at daterange, CONSTRAINT once PRIMARY KEY (id, at WITHOUT OVERLAPS));
        INSERT INTO app.periods VALUES (1, '[2026-01-01,2026-02-01)'), (1, '[2026-02-01,2026-03-01)');
    """
}
#: A partition by hash of an enum may hold other rows elsewhere, since the hash is of the label's OID.
_HEAPS = """
    SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm', 'p') AND c.relispopulated AND NOT c.relispartition
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.atttypid = 'oid[]'::regtype)
"""
_LARGE_OBJECTS = """
    SELECT m.oid, pg_get_userbyid(m.lomowner) AS owner, m.lomacl::text AS acl,
           obj_description(m.oid, 'pg_largeobject') AS comment, md5(lo_get(m.oid)) AS bytes
    FROM pg_largeobject_metadata m ORDER BY 1
"""


async def make_roles(dsn: str) -> None:
    """The roles that the database names, of the server, if they are not there."""
    connection = await asyncpg.connect(dsn)
    try:
        known = {row[0] for row in await connection.fetch("SELECT rolname::text FROM pg_roles")}
        for role in set(ROLES) - known:
            await connection.execute(f"CREATE ROLE {role}")
    finally:
        await connection.close()


async def fill(dsn: str) -> None:
    """Make the objects in an empty database."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(SQL.read_text("utf-8"))
        for version, sql in SINCE.items():
            if connection.get_server_version().major >= version:
                await connection.execute(sql)
    finally:
        await connection.close()


async def catalog(dsn: str, least: int) -> str:
    """All definitions, as pg_dump of that version or later writes them."""
    tool = tools.find("pg_dump", least)
    assert tool is not None
    text = (await tools.run(tool, ["--schema-only"], dsn)).decode()
    # Which server it was, and a random word that guards psql.
    return re.sub(r"^(-- Dumped .*|\\(un)?restrict .*)\n", "", text, flags=re.MULTILINE)


async def contents(db: Database) -> dict[str, Any]:
    """Rows and checksum of each heap and view; large objects; states of sequences."""
    found: dict[str, Any] = {}
    async with db.acquire() as connection:
        for schema, name in await connection.fetch(_HEAPS):
            relation = await find_relation(connection, qualified(schema, name))
            assert relation is not None
            found[relation.label] = await checksum(connection, relation)
        found["large objects"] = [dict(row) for row in await connection.fetch(_LARGE_OBJECTS)]
        for row in await connection.fetch("SELECT schemaname, sequencename, last_value FROM pg_sequences"):
            found[f"sequence {row['schemaname']}.{row['sequencename']}"] = row["last_value"]
    return found
