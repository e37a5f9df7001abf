"""Limits of pressure: what may be written, and which of several places wins, key by key."""

from __future__ import annotations

import pytest

from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig.limits import Limits, limits
from taaxdog_datamig.pressure import CommitClock, signals_of
from taaxdog_datamig.settings import Settings


def test_numbers_and_texts_with_units_are_limits_and_false_is_none():
    found = limits(
        {
            "replication_lag": "500 ms",
            "slot_wal": "1.5 GB",
            "wal_rate": 1000,
            "commit_latency": "2min",
            "lock_wait": False,
            "archive_backlog": "off",
            "active_sessions": "50",
            "vacuum": "on",
            "ignored_standbys": "a, b",
        }
    )
    assert (found.replication_lag, found.slot_wal, found.wal_rate) == (0.5, 1.5 * 2**30, 1000)
    assert (found.commit_latency, found.lock_wait, found.archive_backlog) == (120, None, None)
    assert (found.active_sessions, found.vacuum, found.ignored_standbys) == (50, True, ("a", "b"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lag": 1}, "unknown key 'lag'"),
        ({"replication_lag": "10 GB"}, "pressure.replication_lag is no limit"),
        ({"replication_lag": -1}, "pressure.replication_lag is no limit"),
        ({"replication_lag": True}, "pressure.replication_lag is no limit"),
        ({"slot_wal": "1 gb"}, "pressure.slot_wal is no limit"),
        ({"active_sessions": "50 s"}, "pressure.active_sessions is no limit"),
        ({"vacuum": 3}, "pressure.vacuum is neither true nor false"),
        ({"sql": ""}, "pressure.sql is not a text"),
        ({"ignored_standbys": [1]}, "pressure.ignored_standbys is not a list"),
        ({"function": "busy"}, "pressure.function names no async function"),
        ({"function": len}, "pressure.function names no async function"),
        ({"patience": False}, "pressure.patience is no time"),
    ],
)
def test_anything_else_is_refused_by_name(given, said):
    with pytest.raises(SettingsError, match=said):
        Settings(pressure=given)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere_at_all:busy", "there is no nowhere"),
        ("os:nope", "there is no os:nope"),
        ("os:getcwd", "no async"),
    ],
)
def test_a_function_that_is_not_there_is_told_before_anything_begins(name, said):
    with pytest.raises(SettingsError, match=said):
        signals_of(limits({"function": name}), (), CommitClock())


def test_arguments_beat_the_environment_beats_the_file_beats_defaults_key_by_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datamig.toml").write_text(
        '[pressure]\nreplication_lag = "1 s"\nlock_wait = "2 s"\nxmin_age = "3 s"\n', "utf-8"
    )
    environ = {
        "DATAMIG_PRESSURE_LOCK_WAIT": "4 s",
        "DATAMIG_PRESSURE_XMIN_AGE": "5",
        "DATAMIG_PRESSURE_SQL": "",
    }
    settings = Settings.load(environ=environ, pressure={"xmin_age": "6 s"})
    found = limits(settings.pressure)
    assert (found.replication_lag, found.lock_wait, found.xmin_age) == (1, 4, 6)
    assert (found.commit_latency, found.sql) == (Limits().commit_latency, None)
    with pytest.raises(SettingsError, match="pressure is not a table"):
        Settings.load(environ=environ, pressure="none")


def test_by_default_what_harms_nobody_is_looked_at():
    names = [signal.name for signal in signals_of(Limits(), ("users",), CommitClock())]
    assert names == ["commit_latency", "lock_wait", "replication_lag", "archive_backlog", "xmin_age"]
