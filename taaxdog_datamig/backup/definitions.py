"""The schema of a backup, brought into a database by pg_restore.

Never through psql: a dump's text may hold commands that psql, and not the server, carries out
(CVE-2025-8714).
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from anyio import to_thread

from taaxdog_datamig.backup import tools
from taaxdog_datamig.errors import BackupError, RefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from taaxdog_datamig.backup.loading import OpenBackup
    from taaxdog_datamig.pg.database import Database

#: For the sessions that build indexes. The last commit of a restore waits for the disk, theirs included.
_SESSION = "-c maintenance_work_mem=256MB -c synchronous_commit=off"
#: Has no own message number: told by its words, which are the server's in English or the name in quotes.
_NO_ROLE = re.compile(r'ERROR: +role "')
_BROKEN_KEY = re.compile(r'ERROR: .*"([^"]+)" violates foreign key constraint "([^"]+)"')


@attrs.define
class Definitions:
    """The archive of a schema as a file, and the program that reads it."""

    db: Database
    tool: tools.Tool
    path: Path
    #: Without owners and privileges, since a role that they name is not here.
    bare: bool = False

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, db: Database, backup: OpenBackup) -> AsyncIterator[Definitions]:
        """Write the schema's archive where pg_restore can seek in it, for the time of the block.

        Raises:
            RefusedError: the backup holds no schema, or there is no pg_restore for it.
            BackupError: the part is damaged, or there is no room for it.
        """
        name, version = backup.manifest.schema_part, backup.manifest.pg_dump_version
        if name is None or version is None:
            raise RefusedError(
                f"backup {backup.manifest.id} holds no schema, and its tables are not in the database",
                "Create the tables first: then its rows can be restored into them",
            )
        least = max(int(version.split(".")[0]), db.server.version)
        tool = await to_thread.run_sync(tools.find, "pg_restore", least)
        if tool is None:
            raise RefusedError(
                f"there is no pg_restore {least} or later here, which the backup's schema needs",
                f"Install PostgreSQL's client programs, or name their folder in {tools.OVERRIDE}",
            )
        with contextlib.ExitStack() as stack:
            try:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="datamig-restore-"))
                path = Path(folder, "schema.dump")
                await to_thread.run_sync(_write, backup, name, path)
            except OSError as error:
                raise BackupError(
                    f"cannot write the schema's archive to {tempfile.gettempdir()}: {error.strerror}",
                    "Free space there, or name another folder in TMPDIR",
                ) from None
            yield cls(db, tool, path)

    async def before_rows(self) -> bool:
        """Make everything that rows need: all of it, or nothing.

        Returns:
            False: nothing was made, since it names a role that is not here; try again when it is `bare`.

        Raises:
            BackupError: it cannot be made.
        """
        try:
            await self._restore(["--section=pre-data", "--single-transaction"])
        except BackupError as error:
            if self.bare or not _NO_ROLE.search(error.what):
                raise
            return False
        return True

    async def after_rows(self, jobs: int, *, again: bool, complete: bool) -> list[str]:
        """Make indexes, constraints, triggers and the like; what follows from rows.

        Args:
            jobs: how many at once.
            again: some of it may be there, from a restore that was interrupted: it is made anew.
            complete: whether all rows are there; else foreign keys that do not hold are left out.

        Returns:
            The foreign keys that were left out, as `table.constraint`.

        Raises:
            BackupError: it cannot be made.
        """
        words = ["--section=post-data", f"--jobs={jobs}", *(["--clean", "--if-exists"] if again else [])]
        if complete:
            await self._restore([*words, "--exit-on-error"])
            return []
        listed = await tools.run(self.tool, ["--list", "--section=post-data", str(self.path)], self.db.dsn)
        lines = listed.decode().splitlines()
        keys = [line for line in lines if " FK CONSTRAINT " in line]
        rest = await self._list("rest", [line for line in lines if line not in keys])
        await self._restore([*words, rest, "--exit-on-error"])
        return await self._keys([*words, await self._list("keys", keys)]) if keys else []

    async def _list(self, name: str, lines: Sequence[str]) -> str:
        path = self.path.with_name(name)
        await to_thread.run_sync(path.write_text, "\n".join(lines))
        return f"--use-list={path}"

    async def _keys(self, words: Sequence[str]) -> list[str]:
        said = await tools.complaints(self.tool, self._words(words), self.db.dsn, _SESSION)
        broken = [_BROKEN_KEY.search(line) for line in said]
        for line, key in zip(said, broken, strict=True):
            if key is None:
                raise BackupError(f"pg_restore {self.tool.version} failed: {line}")
        return [f"{key[1]}.{key[2]}" for key in broken if key]

    async def _restore(self, words: Sequence[str]) -> None:
        said = await tools.complaints(self.tool, self._words(words), self.db.dsn, _SESSION)
        if said:
            raise BackupError(f"pg_restore {self.tool.version} failed: {said[0]}")

    def _words(self, words: Sequence[str]) -> list[str]:
        bare = ["--no-owner", "--no-privileges"] if self.bare else []
        name = self.db.server.database.replace("\\", "\\\\").replace("'", "\\'")
        return [*words, *bare, "--no-password", f"--dbname=dbname='{name}'", str(self.path)]


def _write(backup: OpenBackup, name: str, path: Path) -> None:
    with path.open("wb") as file:
        for piece in backup.read(name):
            file.write(piece)
