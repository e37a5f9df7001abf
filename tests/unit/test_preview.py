"""P5 in a dry run's preview: a value is shown as its shape, whatever it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taaxdog_datamig.engine.preview import dots, masked
from taaxdog_datamig.pg.rows import Field
from taaxdog_datamig.profile import ColumnSpec

TOKEN = "encrypted:v1:k1a2b3c4d:" + "A" * 50


def field(name, type_="text"):
    return Field(name=name, column=name, type=type_, textual=type_ == "text")


def spec(name, **more):
    return ColumnSpec(name=name, names=(name,), **more)


@given(st.text(max_size=60))
def test_no_letter_and_no_digit_of_a_value_is_left(text):
    assert not any(letter.isalnum() for letter in dots(text))
    assert (
        not any(letter.isalnum() for letter in masked(text, field("note")).removeprefix("NULL")) or not text
    )


@given(st.from_regex(r"\+?[0-9 ()-]{0,25}", fullmatch=True))
def test_of_a_phone_number_at_most_the_last_three_digits_are_left(text):
    shown = masked(text, field("mobile"), spec("mobile", sensitive=True))
    left = "".join(letter for letter in shown if letter.isdigit())
    assert len(left) <= 3
    assert "".join(letter for letter in text if letter.isdigit()).endswith(left)


@pytest.mark.parametrize(
    ("text", "column", "known", "shown"),
    [
        (None, field("tfn"), None, "NULL"),
        ("", field("tfn"), None, "(empty)"),
        ("123 456 782", field("tfn"), spec("tfn", sensitive=True), "••• ••• •••"),
        ("0491 570 006", field("phone"), spec("phone"), "•••• ••• 006"),
        ("570 006", field("phone"), spec("phone"), "••• •••"),
        (TOKEN, field("tfn"), spec("tfn", sensitive=True), "encrypted:v1:k1a2b3c4d:… (73 characters)"),
        ("encrypted:123456782", field("tfn"), spec("tfn", sensitive=True), "•••••••••:•••••••••"),
        ("RESIDENT", field("taxResidency"), spec("taxResidency", public=True), "RESIDENT"),
        ("USER", field("role"), spec("role", default="USER"), "USER"),
        ("2024-02-29 00:00:00", field("seen", "timestamp(3) without time zone"), None, "2024-02-29 00:00:00"),
        ("1984-02-29", field("born", "date"), None, "••••-••-••"),
        ("9" * 32, field("password"), None, "md5 (32 characters)"),
        ("hunter2", field("password"), None, "•••••••"),
        ('{"a": 1}', field("extra", "jsonb"), None, "jsonb (8 characters)"),
        ("x" * 99, field("note"), None, "•" * 39 + "…"),
    ],
)
def test_what_is_shown(text, column, known, shown):
    assert masked(text, column, known) == shown
