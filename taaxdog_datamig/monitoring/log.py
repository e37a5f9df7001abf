"""Events as log lines: a sentence for people, and fields for machines."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final

import attrs

from taaxdog_datamig.events import (
    Checked,
    ChunkDone,
    Progress,
    RunFinished,
    RunStarted,
    RunStatus,
    StepFinished,
    StepStarted,
    Validated,
    WalRead,
    Warned,
)
from taaxdog_datamig.redaction import Count, Measure

if TYPE_CHECKING:
    from taaxdog_datamig.events import Event

_LEVELS: Final[dict[type, int]] = {
    Warned: logging.WARNING,
    ChunkDone: logging.DEBUG,
    Progress: logging.DEBUG,
    Checked: logging.DEBUG,
    WalRead: logging.DEBUG,
}


@attrs.define(eq=False)
class EventLog:
    """A subscriber that hands events to `logging`, as fields of `docs/reference/logs.md`.

    Chunks and progress at DEBUG, steps and ends at INFO, warnings at WARNING, failures at ERROR. Each line
    says which run and which step it is of.
    """

    logger: logging.Logger = attrs.field(factory=lambda: logging.getLogger("taaxdog_datamig"))
    #: What holds for the lines of a run, and of a step.
    _run: dict[str, Any] = attrs.field(factory=dict)

    def __call__(self, event: Event) -> None:
        """Log one event."""
        match event:
            case RunStarted():
                self._run = attrs.asdict(event)
            case RunStatus(status="running"):
                self._run["run_id"] = event.run_id
            case StepStarted():
                self._run["step"] = event.step
        level = _level(event)
        if self.logger.isEnabledFor(level):
            fields = attrs.asdict(event)
            said = {name: value for name, value in fields.items() if value is not None and value != ""}
            text = " ".join(f"{name}={_shown(value)}" for name, value in said.items())
            extra = {name: _trusted(value) for name, value in (self._run | fields).items()}
            if "message" in extra:  # which is the line's own
                extra["detail"] = extra.pop("message")
            extra["event"] = event_name(type(event))
            self.logger.log(level, "%s %s", type(event).__name__, text, extra=extra)
        match event:
            case StepFinished():
                self._run.pop("step", None)
            case RunFinished():
                self._run = {}


def event_name(kind: type) -> str:
    """The value of a line's `event`, such as "chunk_done"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def _level(event: Event) -> int:
    if isinstance(event, RunFinished) and event.failed:
        return logging.ERROR
    if isinstance(event, Validated) and event.unmade:
        return logging.WARNING
    return _LEVELS.get(type(event), logging.INFO)


def _trusted(value: object) -> object:
    """Numbers of events are counts and durations, which the redacting filter could not know."""
    match value:
        case bool():
            return value
        case int():
            return Count(value)
        case float():
            return Measure(round(value, 6))
        case dict():
            return {name: _trusted(item) for name, item in value.items()}
        case list() | tuple():
            return [_trusted(item) for item in value]
    return value


def _shown(value: object) -> str:
    # With separators, since the redacting filter takes long runs of digits for somebody's number.
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return f"{len(value):,}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
