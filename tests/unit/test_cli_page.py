"""Tables at a terminal: wrapped between words where they fit, else one row under the other."""

from __future__ import annotations

import io

import pytest

from taaxdog_datamig_cli.page import Table, write_rich

TABLE = Table(
    ("migration", "started", "rows", "description"),
    [
        ("encrypt-user-data", "2026-03-01 12:00", "1,200", "Encrypt sensitive user data, and more"),
        ("b", "", "0", ""),
    ],
    frozenset({"rows"}),
)


def shown(width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    stream = io.StringIO()
    write_rich([TABLE], stream)
    return [line.rstrip() for line in stream.getvalue().splitlines() if line.strip()]


def test_where_there_is_room_each_row_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(100, monkeypatch)
    assert len(lines) == 4, "headings, a rule, two rows"
    assert lines[2].split("  ") == [f" {TABLE.rows[0][0]}", *TABLE.rows[0][1:]]


@pytest.mark.parametrize("width", [60, 70, 80])
def test_where_there_is_less_no_word_is_broken_and_the_short_columns_stay(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(width, monkeypatch)
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    for word in ["encrypt-user-data", "1,200", "Encrypt", "sensitive", "user", "data,", "and", "more"]:
        assert word in words
    assert any("2026-03-01 12:00" in line for line in lines)


def test_where_there_is_too_little_each_row_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(40, monkeypatch) == [
        "encrypt-user-data",
        "  started      2026-03-01 12:00",
        "  rows         1,200",
        "  description  Encrypt sensitive user",
        "               data, and more",
        "b",
        "  rows  0",
    ]
