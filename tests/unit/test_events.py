from __future__ import annotations

import logging

import pytest

from taaxdog_datamig.events import ChunkDone, EventBus, StepFinished, Waiting, Warned
from taaxdog_datamig.monitoring import EventLog

CHUNK = ChunkDone(
    table="users", changed=1200, skipped=1, quarantined=0, conflicts=2, seconds=0.5, next_size=12_345_678
)


def test_every_subscriber_hears_every_event_in_order():
    bus, heard = EventBus(), []
    bus.subscribe(lambda event: heard.append((1, event)))
    bus.subscribe(lambda event: heard.append((2, event)))
    bus.emit(CHUNK)
    bus.emit(Warned(message="slow"))
    assert heard == [(1, CHUNK), (2, CHUNK), (1, Warned(message="slow")), (2, Warned(message="slow"))]


def test_what_a_subscriber_raises_stops_a_run_and_not_the_news_of_its_end(caplog):
    bus, heard = EventBus(), []

    def broken(event):
        raise KeyError("a value")

    with bus.hearing(broken):
        bus.subscribe(heard.append)
        with pytest.raises(KeyError):
            bus.emit(CHUNK)
        bus.announce(CHUNK)
    assert heard == [CHUNK]
    assert "KeyError" in caplog.text
    assert "a value" not in caplog.text
    bus.emit(CHUNK)


def test_the_log_has_a_level_for_each_and_numbers_nobody_takes_for_an_identifier(caplog):
    caplog.set_level(logging.DEBUG, "taaxdog_datamig")
    log = EventLog()
    for event in (CHUNK, StepFinished(step="plan", seconds=1.5), Waiting(reason="a lock", seconds=2.0),
                  Warned(message="slow")):  # fmt: skip
        log(event)
    assert [(record.levelname, record.getMessage().split()[0]) for record in caplog.records] == [
        ("DEBUG", "ChunkDone"), ("INFO", "StepFinished"), ("INFO", "Waiting"), ("WARNING", "Warned")
    ]  # fmt: skip
    assert "next_size=12,345,678" in caplog.records[0].getMessage()
