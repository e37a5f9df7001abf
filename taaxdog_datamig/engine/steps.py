"""The steps of a run, as whoever watches it hears of them."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from taaxdog_datamig.events import EventBus, StepFinished, StepStarted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def step(events: EventBus, name: str) -> AsyncIterator[None]:
    """Tell that a step begins and, unless it fails, that it is over."""
    began = time.monotonic()
    events.emit(StepStarted(step=name))
    yield
    events.emit(StepFinished(step=name, seconds=time.monotonic() - began))
