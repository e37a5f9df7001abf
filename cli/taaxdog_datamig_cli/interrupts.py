"""Ctrl-C and SIGTERM: the first lets the engine pause its run, the second stops at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

from taaxdog_datamig.errors import RunPaused
from taaxdog_datamig_cli.door import begun
from taaxdog_datamig_cli.exits import Interrupted
from taaxdog_datamig_cli.session import Session

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def drive(work: Coroutine[Any, Any, T], session: Session) -> T:
    """Run `work` to its end; a signal cancels it, and while a person is asked it raises at once.

    Raises:
        Interrupted: a signal came and `work` did not finish in spite of it.
    """
    with asyncio.Runner() as runner:
        loop, task, seen = runner.get_loop(), None, False

        async def wrapped() -> T:
            nonlocal task
            task = asyncio.current_task()
            return await work

        def on_signal(number: int, _frame: FrameType | None) -> None:
            nonlocal seen
            session.signal = number
            if seen or session.prompting or task is None:
                raise KeyboardInterrupt
            seen = True
            loop.call_soon_threadsafe(task.cancel)

        # Set before the runner looks: it leaves a handler alone that is not Python's own.
        before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
        try:
            return runner.run(wrapped())
        except (asyncio.CancelledError, RunPaused):
            if not seen:
                raise
            raise Interrupted(*session.if_interrupted) from None
        except KeyboardInterrupt:
            raise Interrupted(*session.if_interrupted) from None
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            begun()
