"""Values as the application itself encrypts them: the one thing the server cannot make for the sample.

Format (the application's own, AES-256-GCM, no AAD): base64 of `iv16 || tag16 || ciphertext`; later releases
put `encrypted:` in front. The IV comes from the seed instead of chance, so that a sample can be made twice:
right for made-up values under a throw-away key, and nowhere else.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from taaxdog_datamig.demo.slots import LEGACY, LEGACY_PREFIXED
from taaxdog_datamig.errors import KeyFormatError

if TYPE_CHECKING:
    import asyncpg

_IV_BYTES = 16
_TAG_BYTES = 16
_KEY_BYTES = 32

#: The sealed values wait here for the statement that makes the users. Columns are named as in `users`.
_TABLE = """
CREATE TEMPORARY TABLE legacy (i int8 PRIMARY KEY, "tfn" text, "taxFileNumber" text, "twoFactorSecret" text)
"""
_PLAINTEXT = """
SELECT i, pg_temp.tfn(i) AS "tfn", pg_temp.older_tfn(i) AS "taxFileNumber",
       pg_temp.two_factor_secret(i) AS "twoFactorSecret"
FROM unnest($1::int8[]) AS i
"""


def check_key(key: bytes | None) -> None:
    """Refuse anything but 32 bytes or None.

    Raises:
        KeyFormatError: The key has another length.
    """
    if key is not None and len(key) != _KEY_BYTES:
        raise KeyFormatError(f"A legacy key has {_KEY_BYTES} bytes, this one {len(key)}")


def seal(key: bytes, plaintext: str, *, name: str) -> str:
    """`plaintext` as the application stores it; `name` (unique under the key) chooses the IV."""
    iv = hashlib.sha256(name.encode()).digest()[:_IV_BYTES]
    sealed = AESGCM(key).encrypt(iv, plaintext.encode(), None)
    return b64encode(iv + sealed[-_TAG_BYTES:] + sealed[:-_TAG_BYTES]).decode("ascii")


async def create_legacy_table(
    connection: asyncpg.Connection, *, users: int, seed: int, key: bytes | None
) -> None:
    """Give the session its table of sealed values; empty without a key."""
    await connection.execute(_TABLE)
    if key is None:
        return
    sealed: dict[int, dict[str, str]] = {}
    wanted = [
        (number, slot.name, prefix)
        for prefix, slots in (("", LEGACY), ("encrypted:", LEGACY_PREFIXED))
        for slot in slots
        for number in slot.numbers(users)
    ]
    numbers = sorted({number for number, _, _ in wanted})
    plain = {row["i"]: row for row in await connection.fetch(_PLAINTEXT, numbers)}
    for number, column, prefix in wanted:
        value = seal(key, plain[number][column], name=f"{seed}:{column}:{number}")
        sealed.setdefault(number, {})[column] = prefix + value
    columns = ("tfn", "taxFileNumber", "twoFactorSecret")
    await connection.copy_records_to_table(
        "legacy",
        columns=("i", *columns),
        records=[(number, *(values.get(column) for column in columns)) for number, values in sealed.items()],
    )
