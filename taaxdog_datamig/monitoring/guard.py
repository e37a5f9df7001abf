"""Watching must not change what is watched."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taaxdog_datamig.events import Event, Subscriber

_log = logging.getLogger(__name__)


def guarded(subscriber: Subscriber) -> Subscriber:
    """The subscriber, heard no more once it raised; the log says so once, the run goes on."""
    broken = False

    def hear(event: Event) -> None:
        nonlocal broken
        if broken:
            return
        try:
            subscriber(event)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not the run's
            broken = True
            kind = type(getattr(subscriber, "__self__", subscriber)).__name__
            _log.warning("%s stopped working: %s: %s", kind, type(error).__name__, error)

    return hear
