"""The imperative migration: code of its own in `up`, and the way back in `down`."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, TypeVar, overload

from taaxdog_datamig.errors import NotReversible, UsageError
from taaxdog_datamig.migration.base import BaseMigration

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

#: What a handler writes through. Its transaction is already open.
Connection: TypeAlias = "PoolConnectionProxy[Any]"
#: A row of a query's result: `row["state"]`.
Record: TypeAlias = "asyncpg.Record"
T = TypeVar("T")
#: Items of one batch; returns how many rows it changed, None for one each.
Handle: TypeAlias = "Callable[[Connection, list[T]], Awaitable[int | None]]"


class Workspace(Protocol):
    """What the engine does for a migration while its `up` or `down` is at work."""

    async def process(
        self,
        items: str | Iterable[Any] | AsyncIterable[Any],
        handle: Handle[Any],
        arguments: Sequence[Any],
        batch_size: int | None,
    ) -> int:
        """See `Migration.process_batch`."""

    def keep(self, data: object) -> None:
        """See `Migration.store_rollback`."""

    def kept(self) -> AsyncIterator[Any]:
        """See `Migration.rollback_data`."""

    def tell(self, message: str) -> None:
        """See `Migration.log`."""


class Migration(BaseMigration):
    """Changes what it likes, in batches that each commit once.

    class CustomMigration(Migration):
        name = "custom-migration"
        description = "What it does."
        version = "1.0.0"

        async def validate(self) -> bool: ...
        async def estimate_affected_records(self) -> int: ...
        async def up(self) -> None: ...
        async def down(self) -> None: ...

    The engine promises: what a handler writes through the connection it is given, the rollback data it
    stores, the checkpoint and the audit entry of its batch commit in one transaction, and exactly once,
    however often the process is killed and the run started again. Each batch waits for the disk. `up` and
    `down` themselves begin anew in each process: what they do outside of `process_batch` is done again, and
    their calls of `process_batch` must come in the same order. Batches that were committed are skipped.

    The author promises the rest: that the handler changes nothing but through its connection (elsewhere,
    `self.context.db` lets it read only), that it does not overwrite what the application changed meanwhile,
    that `down` undoes what `up` did, and that nothing is left to do when `up` returns.
    """

    #: Logical or physical names of the tables it changes. While a run of it is unfinished no other works on
    #: them, and earlier runs on them cannot be rolled back before this one. Without one of them the
    #: migration does not apply.
    tables: ClassVar[tuple[str, ...]] = ()
    #: Whether rollback data hold sensitive values: it does not run without a key to seal them, then.
    #: Without a key they are compressed only.
    sensitive: ClassVar[bool] = False

    _workspace: Workspace | None = None

    async def validate(self) -> bool:
        """Whether the migration should run here. Asked before a run begins, not when it is resumed.

        False refuses the run. Raise a `RefusedError` to say in your own words why.
        """
        return True

    async def estimate_affected_records(self) -> int:
        """How many records `up` will change; shown by plans and progress."""
        return 0

    @abc.abstractmethod
    async def up(self) -> None:
        """Migrate. `self.context.dry_run` says whether everything is rolled back in the end."""

    async def down(self) -> None:
        """Undo what `up` has committed, all of it or the part before it failed.

        Raises:
            NotReversible: it cannot be undone; the rollback is refused.
        """
        raise NotReversible(f"{self.name} is not reversible", "Restore from a backup instead")

    @overload
    async def process_batch(
        self,
        items: str,
        handle: Callable[[Connection, list[Record]], Awaitable[int | None]],
        *,
        arguments: Sequence[Any] = (),
        batch_size: int | None = None,
    ) -> int: ...

    @overload
    async def process_batch(
        self,
        items: Iterable[T] | AsyncIterable[T],
        handle: Callable[[Connection, list[T]], Awaitable[int | None]],
        *,
        batch_size: int | None = None,
    ) -> int: ...

    async def process_batch(
        self,
        items: str | Iterable[Any] | AsyncIterable[Any],
        handle: Callable[[Connection, list[Any]], Awaitable[int | None]],
        *,
        arguments: Sequence[Any] = (),
        batch_size: int | None = None,
    ) -> int:
        """Hand items to `handle`, batch by batch, each in a transaction of its own.

        Items may be given in two ways:

        - The text of a *pending query*, which finds what is still to be done, such as `SELECT id, state
          FROM users WHERE state <> upper(state)`. It is asked again for each batch, inside the batch's
          transaction (so that `FOR UPDATE` in it holds), and reads no more rows than one batch has, until
          it finds none. Its condition must become false for rows that are migrated: a batch that is found
          again, and two in a row that change nothing, are errors. A dry run, which changes nothing, asks
          once and goes through the answer.
        - Anything that can be iterated and gives the same plain values (texts, numbers, lists, rows) in the
          same order when the run is resumed. The items of committed batches are passed over, by their
          number; the last of them are compared, and a difference is an error. A query's result read into a
          list is not of that kind where the migration makes it shorter: give the query's text instead.

        A deadlock, a lost connection or a lock held by others rolls the batch back, and `handle` is called
        again with it: its effects outside of the connection may happen more than once.

        Args:
            items: a query's text, or the items.
            handle: async; gets the connection and the batch, changes rows, and returns how many; None says
                one for each item. Statements in it have the time that chunks have, see `chunk_seconds`.
            arguments: the query's, for $1 and so on.
            batch_size: items a transaction. `--batch-size` goes before it; without both, as many as keep a
                transaction short.

        Returns:
            The rows changed by all batches of this call, those of earlier processes included.

        Raises:
            UsageError: used outside of `up` and `down`, inside of a handler, or with a set.
            RunError: the server refused what the handler wrote, or a pending query finds the same again.
            PlanDrift: the items are not those that were given before the run was interrupted.
            RunPaused, RunCancelled, LeaseLost: let them pass.
        """
        return await self._at_work("process_batch").process(items, handle, arguments, batch_size)

    def store_rollback(self, data: object) -> None:
        """Keep `data` for `down`, in the transaction of the batch that is being handled.

        Args:
            data: JSON values. Dates, times and UUIDs come back as text.

        Raises:
            UsageError: not called by a handler of `up`, or `data` is not JSON-able.
        """
        self._at_work("store_rollback").keep(data)

    def rollback_data(self) -> AsyncIterator[Any]:
        """What the run stored, newest first; for `down`.

        Give it to `process_batch`, and each piece is handled exactly once. It is read batch by batch.

        Raises:
            UsageError: not called by `down`.
            RefusedError: some of it was purged.
            TokenError: some of it does not open.
        """
        return self._at_work("rollback_data").kept()

    def log(self, message: str) -> None:
        """Tell whoever watches how it goes. Name rows by their keys; never quote a sensitive value."""
        self._at_work("log").tell(message)

    def _at_work(self, asked: str) -> Workspace:
        if self._workspace is None:
            raise UsageError(f"{asked} works inside up() and down() alone")
        return self._workspace
