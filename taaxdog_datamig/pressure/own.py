"""Signals of the user's own: a query, an async function, a file."""

from __future__ import annotations

import importlib
import inspect
import os
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import anyio.to_thread
import asyncpg
import attrs

from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig.pg.transactions import transaction
from taaxdog_datamig.pressure.model import PATIENCE, Reading, Unreadable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncpg.pool import PoolConnectionProxy


@attrs.frozen
class Query:
    """The first value that a query answers: true, or a number above zero, is pressure."""

    name: ClassVar[str] = "sql"
    query: str = attrs.field(repr=False)

    async def read(self, connection: PoolConnectionProxy[Any]) -> Reading:
        """Ask, in a transaction that reads only."""
        async with transaction(connection):
            await connection.execute(
                f"SET LOCAL transaction_read_only = on; SET LOCAL statement_timeout = {PATIENCE * 1000:.0f}"
            )
            try:
                value = await connection.fetchval(self.query, timeout=2 * PATIENCE)
            except asyncpg.ReadOnlySQLTransactionError:
                raise Unreadable("it writes, and may only read") from None
        if value is None:
            return Reading()
        try:
            over = bool(value) if isinstance(value, bool) else float(value) > 0
        except (TypeError, ValueError):
            # The value itself is not told: it may be a row's.
            raise Unreadable(
                f"it answered a {type(value).__name__}, neither true or false nor a number"
            ) from None
        return Reading(1.0, "the query pressure.sql says so") if over else Reading()


@attrs.frozen
class Function:
    """What an async function says: true, or a reason that may be shown, is pressure."""

    name: ClassVar[str] = "function"
    label: str
    call: Callable[[], Awaitable[object]] = attrs.field(repr=False)

    async def read(self, connection: PoolConnectionProxy[Any]) -> Reading:  # noqa: ARG002
        """Ask."""
        try:
            with anyio.fail_after(PATIENCE):
                answer = await self.call()
        except TimeoutError:
            raise Unreadable(f"{self.label} did not answer within {PATIENCE:g} s") from None
        except Exception as error:  # noqa: BLE001 - whatever a user's code raises; its words may quote a row
            raise Unreadable(f"{self.label} raised {type(error).__name__}") from None
        if isinstance(answer, str):
            return Reading(1.0, answer) if answer else Reading()
        return Reading(1.0, f"{self.label} says so") if answer else Reading()


@attrs.frozen
class FlagFile:
    """A file that is there."""

    name: ClassVar[str] = "flag_file"
    path: str

    async def read(self, connection: PoolConnectionProxy[Any]) -> Reading:  # noqa: ARG002
        """Look for it. On a thread: the folder may be somebody else's disk."""
        try:
            await anyio.to_thread.run_sync(os.lstat, self.path, abandon_on_cancel=True)
        except FileNotFoundError:
            return Reading()
        except OSError as error:
            raise Unreadable(f"{self.path}: {error.strerror}") from None
        return Reading(1.0, f"the file {self.path} is there")


def function_of(given: str | Callable[[], Any]) -> Function:
    """The async function of that name, or itself.

    Raises:
        SettingsError: there is none.
    """
    if not isinstance(given, str):
        return Function(getattr(given, "__qualname__", "the function"), given)
    module, _, name = given.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"pressure.function: there is no {given} ({type(error).__name__})",
            "Write it as module:name, and put the module where Python finds it",
        ) from None
    if not inspect.iscoroutinefunction(found):
        raise SettingsError(f"pressure.function: {given} is no async function", "Write it as `async def`")
    return Function(given, found)
