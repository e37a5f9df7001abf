"""The Python login of docs/how-to/passwords.md, extracted and run against a database."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import asyncpg
import pytest

from taaxdog_datamig import passwords
from taaxdog_datamig.passwords import CHEAPEST_COST, Pepper, recognise, verify, wrap

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "passwords.md"
MD5 = "5f4dcc3b5aa765d61d8327deb882cf99"  # of "password"
LONG = "x" * 80


@pytest.fixture
def login():
    """The names that the page's first Python block defines."""
    names = {}
    block = re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert block is not None
    exec(compile(block[1], PAGE.name, "exec"), names)
    return names


@pytest.fixture
async def users(database):
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE users (id text PRIMARY KEY, email text UNIQUE, password text)")
    yield connection
    await connection.close()


async def add(users, values):
    await users.executemany(
        "INSERT INTO users VALUES ($1, $1 || '@example.com', $2)",
        [(name, text) for name, text in values.items()],
    )


async def stored(users):
    return dict(await users.fetch("SELECT id, password FROM users"))


async def test_a_login_with_the_right_password_puts_a_modern_hash_in_place(users, login):
    pepper = Pepper({"2026": b"s" * 32})
    strong = passwords.hash_password("password")
    before = {
        "bare": MD5,
        "wrapped": wrap(MD5, cost=CHEAPEST_COST),
        "peppered": wrap(MD5, to="argon2id", cost=CHEAPEST_COST, pepper=pepper),
        "cheap": passwords.hash_password("password", cost=CHEAPEST_COST),
        "strong": strong,
    }
    await add(users, before)
    for name in before:
        assert await login["sign_in"](users, f"{name}@example.com", "password", pepper=pepper) == name
    after = await stored(users)
    assert after.pop("strong") == strong
    for name, text in after.items():
        assert text.startswith("$2b$12$"), name
        assert verify(text, "password"), name
        assert not passwords.needs_rehash(text), name


async def test_a_wrong_password_and_what_nothing_matches_change_nothing(users, login):
    before = {
        "bare": MD5,
        "wrapped": wrap(MD5, cost=CHEAPEST_COST),
        "none": None,
        "empty": "",
        "marker": passwords.unusable(),
        "unknown": "{X-LEGACY}",
    }
    await add(users, before)
    for name in (*before, "nobody"):
        assert await login["sign_in"](users, f"{name}@example.com", "Password") is None
    assert await stored(users) == before


async def test_a_password_that_bcrypt_would_cut_signs_in_and_keeps_its_wrapped_hash(users, login):
    wrapped = wrap(hashlib.md5(LONG.encode()).hexdigest(), cost=CHEAPEST_COST)
    await add(users, {"long": wrapped})
    assert await login["sign_in"](users, "long@example.com", LONG) == "long"
    assert await login["sign_in"](users, "long@example.com", LONG[:72]) is None
    assert await stored(users) == {"long": wrapped}


async def test_a_value_that_changed_meanwhile_is_left(users, login):
    """The run wraps the digest, or the user changes the password, while the login is hashing."""
    await add(users, {"racer": MD5})
    connection = users
    now = wrap(MD5, cost=CHEAPEST_COST)

    class Racing:
        fetchrow = staticmethod(connection.fetchrow)

        @staticmethod
        async def execute(sql, *values):
            await connection.execute("UPDATE users SET password = $1", now)
            return await connection.execute(sql, *values)

    assert await login["sign_in"](Racing, "racer@example.com", "password") == "racer"
    assert await stored(users) == {"racer": now}


async def test_an_unknown_address_takes_the_time_of_a_hash(login):
    assert recognise(login["NOBODY"]).scheme == "bcrypt"
    assert not passwords.needs_rehash(login["NOBODY"])
    assert not verify(login["NOBODY"], "")
