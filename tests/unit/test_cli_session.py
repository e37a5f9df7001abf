"""Plans in files, the shape of values that are never shown, and the question before rows change."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from pathlib import Path

import pytest

from taaxdog_datamig.engine.reports import Plan
from taaxdog_datamig.errors import RunPaused, UsageError
from taaxdog_datamig_cli import planfile
from taaxdog_datamig_cli.answers import Plans
from taaxdog_datamig_cli.commands.demo import describe
from taaxdog_datamig_cli.exits import Declined, Interrupted
from taaxdog_datamig_cli.interrupts import drive
from taaxdog_datamig_cli.options import Common
from taaxdog_datamig_cli.session import Session


def plan(name: str) -> Plan:
    return Plan(migration=name, version="1", description="", applicable=True, fingerprint=f"of {name}")


def test_a_written_plan_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    planfile.write(path, plan("a"))
    assert planfile.pinned(path, ["a"])["a"]["fingerprint"] == "of a"
    planfile.write(path, Plans([plan("a"), plan("b")]))
    assert planfile.pinned(path, ["b", "a"])["b"]["fingerprint"] == "of b"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "datamig/run-report/1"}'])
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="is not a plan"):
        planfile.pinned(path, ["a"])


def test_a_plan_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    planfile.write(path, plan("a"))
    with pytest.raises(UsageError, match="holds no plan of b"):
        planfile.pinned(path, ["a", "b"])


def test_a_value_is_described_and_never_shown() -> None:
    assert describe("hunter2") == "••••••• (7 characters)"
    assert describe("x" * 300) == f"{'•' * 12} (300 characters)"
    token = "encrypted:v1:k12345678:" + "A" * 50
    assert describe(token) == "encrypted:v1:k12345678:… (73 characters)"


@pytest.mark.parametrize("answer", ["", "n\n", "no\n", "\n", "yess\n"])
def test_anything_but_yes_changes_nothing(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    with pytest.raises(Declined, match="nothing was changed"):
        Session(common=Common()).confirm("Run it?")


@pytest.mark.parametrize("answer", ["y\n", "YES\n", " yes \n"])
def test_yes_goes_on(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    Session(common=Common()).confirm("Run it?")


def test_what_was_typed_before_the_question_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()

    class Person(io.StringIO):
        def write(self, text: str) -> int:
            os.write(master, b"n\n")  # having seen the question
            return len(text)

    with os.fdopen(slave) as terminal, os.fdopen(master):
        os.write(master, b"y\n")
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(sys, "stdout", Person())
        with pytest.raises(Declined):
            Session(common=Common()).confirm("Run it?")


def test_nobody_is_asked_in_ci_or_for_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    assert Session(common=Common()).asks
    assert not Session(common=Common(json=True)).asks
    monkeypatch.setenv("CI", "true")
    assert not Session(common=Common()).asks


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_and_waits_for_the_cleanup(number: signal.Signals) -> None:
    tidied = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0)
            tidied.append(True)

    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="interrupted"):
        drive(work(), Session(common=Common()))
    assert tidied
    assert signal.getsignal(number) is before


def test_work_that_ends_in_spite_of_a_signal_is_an_answer() -> None:
    async def work() -> str:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            pass
        return "done"

    assert drive(work(), Session(common=Common())) == "done"


def test_a_pause_from_elsewhere_is_not_an_interruption() -> None:
    async def work() -> None:
        raise RunPaused("paused")

    with pytest.raises(RunPaused):
        drive(work(), Session(common=Common()))
