"""Whatever an address looks like, an error about it never shows the password in it."""

from __future__ import annotations

import re
from urllib.parse import quote

import asyncpg
from hypothesis import given
from hypothesis import strategies as st

from taaxdog_datamig.pg.address import unavailable

ERRORS = [
    OSError(111, "refused"),
    TimeoutError(),
    ValueError("bad"),
    OverflowError("port"),
    asyncpg.InvalidPasswordError("no"),
    asyncpg.InvalidCatalogNameError("no"),
    asyncpg.CannotConnectNowError("starting"),
]

# Letters that stand in none of our sentences, with whatever separates the parts of a URL among them.
PASSWORDS = st.from_regex(r"[JZ]{4}[JZ0-9:/?#@%&=\[\] .-]{0,12}[JZ]{4}", fullmatch=True)


@given(
    password=PASSWORDS,
    escape=st.booleans(),
    shape=st.sampled_from(
        [
            "postgresql://app:{}@db.example:5432/taaxdog",
            "postgres://app:{}@/taaxdog?host=/run/postgresql",
            "postgresql://app:{}@[::1]:5433/taaxdog",
            "postgresql://app:12{}@db/taaxdog",
            "postgresql://app:12/{}@db/taaxdog",
            "postgresql://app:12?{}@db/taaxdog",
            "postgresql://app:12#{}@db/taaxdog",
            "postgresql://db/taaxdog?user=app&password={}",
            "host=db user=app password={}",
            "mysql://app:{}@db/taaxdog",
        ]
    ),
    error=st.sampled_from(ERRORS),
)
def test_no_error_shows_a_part_of_the_password(password, escape, shape, error):
    shown = str(unavailable(error, shape.format(quote(password, safe="") if escape else password)))
    assert not re.search("[jz]", shown, re.IGNORECASE)


@given(st.text())
def test_an_address_that_is_no_url_at_all_gets_an_answer(text):
    assert str(unavailable(OSError(), text))
