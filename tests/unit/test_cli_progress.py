"""Progress: what a heartbeat says and when, and that a reader who leaves does no harm."""

from __future__ import annotations

import io
import re

import attrs
import pytest
from rich.console import Console

from taaxdog_datamig.events import (
    Checked,
    ChunkDone,
    Progress,
    StepStarted,
    SweepStarted,
    TableStarted,
    Waiting,
    WalRead,
    Warned,
    WorkersSet,
)
from taaxdog_datamig_cli.progress import HEARTBEAT, Heartbeat, Live, loading
from tests.docs.screenshot import IN_FULL


@attrs.define
class Clock:
    """Time as the test wants it."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def chunk(changed: int, *, quarantined: int = 0, table: str = "users") -> ChunkDone:
    return ChunkDone(
        table=table,
        changed=changed,
        skipped=0,
        quarantined=quarantined,
        conflicts=0,
        seconds=0.5,
        next_size=10,
    )


def test_a_heartbeat_comes_every_few_seconds_and_tells_rate_and_time_left() -> None:
    clock, stream = Clock(), io.StringIO()
    beat = Heartbeat(stream, clock)
    beat.start("encrypt-user-data")
    beat(TableStarted(table="users", rows=200_000))
    clock.now += HEARTBEAT / 2
    beat(chunk(10_000))
    assert stream.getvalue() == ""
    clock.now += HEARTBEAT / 2
    beat(chunk(10_000, quarantined=2))
    assert stream.getvalue() == (
        "encrypt-user-data: users 20,002 of 200,000 rows (10%), 2 quarantined, 4,000 rows/s,"
        " about 45 s left\n"
    )


def test_tables_that_are_named_together_count_to_one_rate_and_time_left() -> None:
    clock, stream = Clock(), io.StringIO()
    beat = Heartbeat(stream, clock)
    beat.start("x")
    beat(TableStarted(table="users", rows=1_000))
    beat(TableStarted(table="bank_accounts", rows=3_000))
    beat(WorkersSet(working=1, most=1))
    clock.now += HEARTBEAT
    beat(chunk(500))
    clock.now += HEARTBEAT
    beat(WorkersSet(working=4, most=4))
    beat(chunk(500, table="bank_accounts"))
    assert stream.getvalue().splitlines() == [
        ("x: users 500 of 1,000 rows (50%), in all 12%, 100 rows/s, about 35 s left"),
        ("x: bank_accounts 500 of 3,000 rows (17%), in all 25%, 4 workers, 100 rows/s, about 30 s left"),
    ]


def test_the_live_view_fits_eighty_columns_and_tells_rate_spread_and_load() -> None:
    clock = Clock()
    live = Live(clock)
    live(StepStarted(step="execute"))
    live(TableStarted(table="users", rows=100_000))
    live(TableStarted(table="bank_accounts", rows=50_000))
    live(WalRead(position=0))
    live(WorkersSet(working=2, most=4))
    for number in range(8):
        clock.now += 2
        rows = 2_000 if number % 2 else 6_000
        live(attrs.evolve(chunk(rows), hot=rows // 2, next_size=2_700))
    live(WalRead(position=160_000_000))
    live(attrs.evolve(chunk(1, quarantined=2, table="bank_accounts"), next_size=2_700))
    live(Waiting(reason="replication lag of standby a is 40 MB", seconds=1))
    stream = io.StringIO()
    Console(file=stream, width=80, color_system=None).print(live.picture())
    shown = [line.rstrip() for line in stream.getvalue().splitlines()]
    assert all(len(line) <= 80 for line in shown)
    assert re.search(IN_FULL, "\n".join(shown)), "the view has changed: `nox -s images` draws it anew"
    text = " ".join(" ".join(shown).split())
    for words in (
        "waits: replication lag of standby a is 40 MB",
        "32,000 of 100,000 32%",
        "3 of 50,000 0%",
        "2,000 rows/s",
        "39 s to 1 min 58 s left",
        "left · chunks of 2,089 2 of 4 workers · 50% heap-only · WAL 10 MB/s · 2 quarantined",
    ):
        assert words in text, words


def test_steps_sweeps_and_warnings_are_told_at_once() -> None:
    stream = io.StringIO()
    beat = Heartbeat(stream, Clock())
    beat.start("x")
    beat(StepStarted(step="prove"))
    beat(SweepStarted(table="users", sweep=2, rows=1_500))
    for _ in range(2):
        beat(Warned(message="look"))
    assert stream.getvalue() == "x: prove\nx: users: sweep 2 over 1,500 rows\nx: warning: look\n"


def test_a_reason_for_waiting_is_told_once() -> None:
    stream = io.StringIO()
    beat = Heartbeat(stream, Clock())
    beat.start("x")
    for _ in range(3):
        beat(Waiting(reason="replica lag", seconds=1))
    assert stream.getvalue() == "x: waits: replica lag\n"
    beat(chunk(1))
    beat(Waiting(reason="replica lag", seconds=1))
    assert stream.getvalue().count("replica lag") == 2


def test_how_far_a_long_statement_is_comes_every_few_seconds() -> None:
    clock, stream = Clock(), io.StringIO()
    beat = Heartbeat(stream, clock)
    beat.start("x")
    scanning = Progress(table="public.users", phase="scanning heap", done=50, total=200)
    beat(scanning)
    clock.now += HEARTBEAT
    beat(scanning)
    beat(scanning)
    clock.now += HEARTBEAT
    beat(Progress(table="public.users", phase="vacuum", done=0, total=0))
    assert stream.getvalue() == "x: public.users: scanning heap 25%\nx: public.users: vacuum\n"


def test_a_reader_that_left_does_not_stop_the_run() -> None:
    stream = io.StringIO()
    beat = Heartbeat(stream, Clock())
    beat.start("x")
    stream.close()
    beat(StepStarted(step="prove"))
    beat(StepStarted(step="record"))


def test_the_live_display_takes_every_event(capsys: pytest.CaptureFixture[str]) -> None:
    live = Live(Clock())
    live(StepStarted(step="ignored before the start"))
    live.start("x")
    live(StepStarted(step="plan"))
    live(TableStarted(table="users", rows=10))
    live(chunk(5))
    live(Progress(table="users", phase="scanning heap", done=5, total=10))
    assert live.note == "users: scanning heap 50%"
    live(Waiting(reason="replica lag", seconds=1))
    live(SweepStarted(table="users", sweep=2, rows=5))
    live(Warned(message="look [here]"))
    assert live.note == "warning: look [here]"
    live.stop()
    live.stop()
    assert capsys.readouterr().out == ""  # stdout belongs to the answer


def test_loading_tables_side_by_side_is_one_progress() -> None:
    events: list[object] = []

    class Recorder:
        def start(self, title: str) -> None: ...
        def stop(self) -> None: ...
        def __call__(self, event: object) -> None:
            events.append(event)

    tell = loading(Recorder(), {"users": 10, "accounts": 20})
    tell("users", 5, 10)
    tell("accounts", 20, 20)
    tell("users", 10, 10)
    tell("indexes", 1, 2)
    tell("indexes", 2, 2)
    assert events[0] == TableStarted(table="all tables", rows=30)
    assert sum(event.changed for event in events if isinstance(event, ChunkDone)) == 30
    assert events.count(StepStarted(step="indexes")) == 1


def test_a_validation_tells_how_many_tables_are_done() -> None:
    clock, stream = Clock(), io.StringIO()
    beat = Heartbeat(stream, clock)
    beat.start("validate")
    beat(Checked(what="public.users", done=1, total=40))
    clock.now += HEARTBEAT
    beat(Checked(what="public.goals", done=2, total=40))
    assert stream.getvalue() == "validate: 2 of 40 done, the last public.goals\n"
    live = Live(clock)
    live.start("validate")
    live(Checked(what="public.goals", done=2, total=40))
    assert live.note == "2 of 40 done, the last public.goals"
    live.stop()
