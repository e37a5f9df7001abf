"""Make the backups of this folder anew, which a change of the format asks for: run it as a program."""

import shutil
from pathlib import Path

import anyio
import asyncpg

from taaxdog_datamig import Database, Settings
from taaxdog_datamig.backup import BackupManager
from taaxdog_datamig.embedded import EmbeddedServer

FOLDER = Path(__file__).parent
KEY = bytes(range(32))
SQL = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE notes (id int PRIMARY KEY, note text, raw bytea);
INSERT INTO notes VALUES (1, NULL, '\\x00ff'), (2, '', ''), (3, E'naïve ☃\\n\\\\.', NULL);
CREATE TABLE moods (id int PRIMARY KEY, many mood[], note text);
INSERT INTO moods VALUES (1, '{sad,NULL}', E'a\\tb\\\\'), (2, NULL, '');
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
SELECT lo_from_bytea(700001, 'an object');
COMMENT ON LARGE OBJECT 700001 IS 'a comment';
"""


async def make(server: EmbeddedServer) -> None:
    connection = await asyncpg.connect(server.dsn)
    await connection.execute("CREATE DATABASE vectors TEMPLATE template0 ENCODING 'UTF8'")
    await connection.close()
    dsn = server.dsn_for("vectors")
    connection = await asyncpg.connect(dsn)
    await connection.execute(SQL)
    await connection.close()
    settings = Settings(database_url=dsn, field_encryption_keys=f"main:{KEY.hex()}", backup_dir=FOLDER)
    async with Database.connect(settings=settings) as db:
        for encrypt in (True, False):
            await BackupManager(db).create(name="sealed" if encrypt else "bare", encrypt=encrypt)


if __name__ == "__main__":
    for old in FOLDER.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
    with EmbeddedServer() as running:
        anyio.run(make, running)
