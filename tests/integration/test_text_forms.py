"""Values, names and constants mean the same to the server as they do here."""

# ruff: noqa: DTZ001, DTZ901 -- times without a zone are values like others

from __future__ import annotations

import math
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import asyncpg
import orjson
import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taaxdog_datamig.pg.database import SESSION
from taaxdog_datamig.pg.quoting import ident, literal, qualified
from taaxdog_datamig.pg.rows import to_text

BATCHES = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def ask(server_dsn):
    """`ask(method, ...)`: call a method of one session that is set up as the engine's are."""
    with start_blocking_portal() as portal:

        async def opened():
            return await asyncpg.connect(server_dsn, server_settings=SESSION)

        connection = portal.call(opened)
        yield lambda method, *args: portal.call(getattr(connection, method), *args)
        portal.call(connection.close)


#: No NUL, which no text of the server may hold, and no lone surrogates, which are no characters.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
#: An identifier has up to 63 bytes.
NAME = TEXT.filter(lambda name: 0 < len(name.encode()) <= 63)


@BATCHES
@given(names=st.lists(NAME, min_size=1, max_size=30, unique=True))
def test_a_quoted_name_is_that_name(ask, names):
    row = ask("fetchrow", f"SELECT {', '.join(f'1 AS {ident(name)}' for name in names)}")
    assert list(row.keys()) == names


@BATCHES
@given(schema=NAME, name=NAME)
def test_a_qualified_name_is_these_two_names(ask, schema, name):
    assert ask("fetchval", "SELECT parse_ident($1)", qualified(schema, name)) == [schema, name]


@BATCHES
@given(texts=st.lists(TEXT | st.text("\\'E\n\"", max_size=9), min_size=1, max_size=30))
def test_a_quoted_constant_is_that_text(ask, texts):
    quoted = ", ".join(literal(text) for text in texts)
    assert ask("fetchval", f"SELECT ARRAY[{quoted}]::text[]") == texts
    ask("execute", "SET standard_conforming_strings = off")
    try:
        assert ask("fetchval", f"SELECT ARRAY[{quoted}]::text[]") == texts
    finally:
        ask("execute", "SET standard_conforming_strings = on")


@pytest.mark.parametrize("quote", [ident, literal])
def test_nul_is_refused(quote):
    with pytest.raises(ValueError, match="NUL"):
        quote("a\0b")


ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
VALUES = {
    "integer": st.integers(-(1 << 31), (1 << 31) - 1),
    "bigint": st.integers(-(1 << 63), (1 << 63) - 1),
    "boolean": st.booleans(),
    "numeric": st.decimals(allow_nan=False, allow_infinity=False, places=8)
    | st.sampled_from([Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity"), Decimal("1E+20")]),
    "double precision": st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324]),
    "timestamp without time zone": MOMENTS | st.sampled_from([datetime.max, datetime.min]),
    "timestamp with time zone": st.builds(lambda at, zone: at.replace(tzinfo=zone), MOMENTS, ZONES)
    | st.sampled_from([datetime.max, datetime.min]),
    "date": st.dates(),
    "time without time zone": st.times(),
    "time with time zone": st.times(timezones=ZONES),
    "interval": st.timedeltas(timedelta(days=-99_999), timedelta(days=99_999)),
    "uuid": st.uuids(),
    "bytea": st.binary(max_size=60),
    "text": TEXT,
    "text[]": st.lists(st.none() | TEXT | st.sampled_from(['"', "\\", "{}", ",", "NULL", "null", "", " "])),
    "integer[]": st.lists(st.none() | st.integers(-9, 9), max_size=6),
    "numeric[]": st.lists(st.none() | st.decimals(-9, 9, places=3), max_size=6),
    "bytea[]": st.lists(st.binary(max_size=5), max_size=4),
    "timestamp with time zone[]": st.lists(MOMENTS.map(lambda at: at.replace(tzinfo=UTC)), max_size=4),
    "uuid[]": st.lists(st.uuids(), max_size=4),
}


def same(one: object, other: object) -> bool:
    if isinstance(one, float | Decimal) and isinstance(other, float | Decimal) and one != one:  # noqa: PLR0124
        return other != other  # noqa: PLR0124 -- NaN is not itself
    if isinstance(one, float) and isinstance(other, float):
        return math.copysign(1, one) == math.copysign(1, other) and one == other
    return one == other


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_written_as_text_is_what_the_driver_would_have_written(ask, kind):
    @BATCHES
    @given(values=st.lists(VALUES[kind], min_size=1, max_size=40))
    def each(values):
        array = f"(SELECT array_agg(t::{kind} ORDER BY n) FROM unnest($1::text[]) WITH ORDINALITY AS u(t, n))"
        texts = [to_text(value, kind) for value in values]
        if kind.endswith("[]"):  # arrays of one shape only fit into an array
            found = [ask("fetchval", f"SELECT $1::text::{kind}", text) for text in texts]
            native = [ask("fetchval", f"SELECT $1::{kind}", value) for value in values]
        else:
            found = ask("fetchval", f"SELECT {array}", texts)
            native = ask("fetchval", f"SELECT $1::{kind}[]", values)
        assert all(map(same, found, native))

    each()


@BATCHES
@given(values=st.lists(st.dictionaries(TEXT, JSON, max_size=4) | st.lists(JSON, max_size=4), max_size=20))
@pytest.mark.parametrize("kind", ["json", "jsonb"])
def test_dicts_and_lists_are_documents_in_a_json_column(ask, kind, values):
    texts = [to_text(value, kind) for value in values]
    query = f"SELECT t::{kind}::text FROM unnest($1::text[]) WITH ORDINALITY AS u(t, n) ORDER BY n"
    found = ask("fetch", query, texts)
    assert [orjson.loads(row[0]) for row in found] == values


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ([["a", 'b"'], ["\\", None]], "text[]"),
        ([[], []], "text[]"),
        ([[1, 2], [3, None]], "integer[]"),
        ([], "text[]"),
    ],
)
def test_arrays_within_arrays_keep_their_shape(ask, value, kind):
    native = ask("fetchval", f"SELECT ($1::text::{kind})", to_text(value, kind))
    assert native == ([] if value == [[], []] else value)


@pytest.mark.parametrize("infinite", ["infinity", "-infinity"])
@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date"])
def test_infinity_read_and_written_again_stays_infinite(ask, kind, infinite):
    value = ask("fetchval", f"SELECT $1::text::{kind}", infinite)
    assert to_text(value, kind) == infinite


@pytest.mark.parametrize("value", [object(), {1, 2}, {"a": 1}, 1j, range(3)])
def test_a_value_without_a_text_form_is_refused_by_its_type_only(value):
    with pytest.raises(TypeError, match=f"of type {type(value).__name__}$"):
        to_text(value, "text")


def test_null_and_texts_are_taken_as_they_are():
    assert to_text(None) is None
    assert to_text("'") == "'"
    assert to_text(uuid.UUID(int=1)) == "00000000-0000-0000-0000-000000000001"
    assert to_text(time(1, 2, 3)) == "01:02:03"
    assert to_text(date(2026, 1, 2)) == "2026-01-02"
