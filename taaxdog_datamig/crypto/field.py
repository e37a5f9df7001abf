"""Field tokens: one column's values, sealed to their row.

    encrypted:v1:<kid>:<base64url-nopad(nonce12 || ciphertext || tag16)>

AES-256-GCM under a subkey of its own per logical column; the associated data names key, column and row,
so that a token copied elsewhere does not open. The format is specified, with readers in other languages,
in docs/reference/field-token.md.

Nonces are random, 96 bits, drawn from the operating system at each call: a buffer of them would save a
sixth of a seal, and would have to be guarded against forks and threads, where a nonce used twice gives
the plaintexts away. (One subkey is good for 2**32 seals, NIST SP 800-38D section 8.3.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import urandom
from typing import TYPE_CHECKING, Final, Literal, NoReturn, TypeAlias

import attrs
import orjson
from cryptography.exceptions import InvalidTag

from taaxdog_datamig.crypto import base64url
from taaxdog_datamig.crypto.keytext import KID
from taaxdog_datamig.errors import TokenError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from taaxdog_datamig.crypto.legacy import LegacyOpener

PREFIX: Final = "encrypted:"
V1: Final = "encrypted:v1:"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16

#: Canonical base64url of 28 bytes or more: nine groups of four characters, any number more, and a last
#: group that is whole or whose unused bits are zero.
_BODY: Final = (
    "([A-Za-z0-9_-]{4}){9}([A-Za-z0-9_-]{4})*"
    "([A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048]|[A-Za-z0-9_-]{4})"
)

#: A row's key columns as text, in the order of the primary key.
PrimaryKey: TypeAlias = Sequence[str]

FoundKind: TypeAlias = Literal[
    "empty", "plaintext", "token", "legacy", "malformed", "foreign_key_id", "does_not_open"
]


@attrs.define  # frozen ones take twice as long to make, and there is one for each value
class Found:
    """What a stored value turned out to be. Not to be altered."""

    #: empty: NULL or ""; plaintext; token: opens; legacy: the application's, opens; malformed: begins
    #: with `encrypted:` and is neither; foreign_key_id: a token of an unknown key; does_not_open: a
    #: token of a known key that was moved from another row or column, or damaged.
    kind: FoundKind
    #: The value itself, for plaintext, token and legacy; else None.
    plaintext: str | None = attrs.field(default=None, repr=False)


_EMPTY: Final = Found("empty")
_MALFORMED: Final = Found("malformed")
_FOREIGN_KEY_ID: Final = Found("foreign_key_id")
_DOES_NOT_OPEN: Final = Found("does_not_open")


class FieldCipher:
    """Seals and opens the values of one logical column.

    Args:
        table: logical name of the table.
        column: logical name of the column.
        ciphers: the column's AES-GCM cipher per key id, the primary key first.
        legacy: opens what the application sealed itself.
    """

    __slots__ = ("_aads", "_encrypt", "_head", "_legacy", "_name", "_opens", "_primary_aad", "kid_pattern")

    def __init__(self, table: str, column: str, ciphers: Mapping[str, AESGCM], legacy: LegacyOpener) -> None:
        self._name = f"{table}.{column}"
        self._aads = {kid: orjson.dumps(["v1", kid, table, column])[:-1] + b"," for kid in ciphers}
        self._opens: dict[str, Callable[[bytes, bytes, bytes], bytes]] = {
            kid: cipher.decrypt for kid, cipher in ciphers.items()
        }
        primary = next(iter(ciphers))
        self._encrypt = ciphers[primary].encrypt
        self._primary_aad = self._aads[primary]
        self._head = f"{V1}{primary}:"
        self._legacy = legacy
        #: Regular expression, for Python's `re` and PostgreSQL's `~` alike, of the well-formed tokens of
        #: the known keys. Anchored at both ends.
        self.kid_pattern = rf"\A{V1}({'|'.join(ciphers)}):{_BODY}\Z"

    def __repr__(self) -> str:
        return f"FieldCipher({self._name!r}, keys={list(self._aads)!r})"

    def seal(self, value: str, key: PrimaryKey) -> str:
        """Seal a value of the row with this primary key, under the keyring's primary key.

        Raises:
            TokenError: the value begins with `encrypted:` (nothing is sealed twice), or holds half of a
                surrogate pair, which no database text does.
        """
        if value.startswith(PREFIX):
            raise TokenError(f"a value of {self._name} is sealed already", "Classify it before sealing")
        try:
            data = value.encode()
        except UnicodeEncodeError:
            raise TokenError(f"a value of {self._name} is not valid Unicode") from None
        nonce = urandom(_NONCE_BYTES)
        sealed = self._encrypt(nonce, data, self._primary_aad + _key_json(key) + b"]")
        return self._head + base64url.encode(nonce + sealed)

    def open(self, token: str, key: PrimaryKey) -> str:
        """Open a token of the row with this primary key.

        Raises:
            TokenError: it is no token, its key is unknown, or it was moved or damaged.
        """
        parsed = self._parse(token)
        if parsed is None:
            self._refuse("is no field token", key)
        kid, body = parsed
        if kid not in self._opens:
            self._refuse(f"was sealed under key {kid}, which is not configured", key)
        plaintext = self._opened(kid, body, key)
        if plaintext is None:
            self._refuse(f"does not open under key {kid}: it was damaged, or moved from elsewhere", key)
        return plaintext

    def classify(self, value: str | None, key: PrimaryKey) -> Found:
        """Tell what a stored value is, by opening it.

        Raises:
            KeyFormatError: FIELD_ENCRYPTION_LEGACY_KEY cannot be used (found at its first use).
        """
        if not value:
            return _EMPTY
        if not value.startswith(PREFIX):
            plaintext = self._legacy.open(value)
            if plaintext is None:
                return Found("plaintext", value)
        elif (parsed := self._parse(value)) is not None:
            kid, body = parsed
            if kid not in self._opens:
                return _FOREIGN_KEY_ID
            plaintext = self._opened(kid, body, key)
            return _DOES_NOT_OPEN if plaintext is None else Found("token", plaintext)
        else:
            plaintext = self._legacy.open(value.removeprefix(PREFIX))
        # Sealed by the application over a value that was sealed already: nobody can say what it means.
        if plaintext is None or plaintext.startswith(PREFIX):
            return _MALFORMED
        return Found("legacy", plaintext)

    def _parse(self, token: str) -> tuple[str, bytes] | None:
        """Split a well-formed token into key id and body; None for anything else."""
        if not token.startswith(V1):
            return None
        kid, _, text = token[len(V1) :].partition(":")
        if kid not in self._opens and KID.fullmatch(kid) is None:
            return None
        body = base64url.decode(text)
        return None if body is None or len(body) < _NONCE_BYTES + _TAG_BYTES else (kid, body)

    def _opened(self, kid: str, body: bytes, key: PrimaryKey) -> str | None:
        aad = self._aads[kid] + _key_json(key) + b"]"
        try:
            return self._opens[kid](body[:_NONCE_BYTES], body[_NONCE_BYTES:], aad).decode()
        except (InvalidTag, UnicodeDecodeError):
            return None

    def _refuse(self, why: str, key: PrimaryKey) -> NoReturn:
        raise TokenError(f"the value of {self._name} in row {_key_json(key).decode()} {why}")


def _key_json(key: PrimaryKey) -> bytes:
    """Spell a primary key as in the associated data: one column as text, several as an array."""
    # A number would be spelled without quotes, and a bare string taken for a key of many columns: tokens
    # that no other reader opens.
    if len(key) == 1 and type(key[0]) is str:
        return orjson.dumps(key[0])
    if not key or isinstance(key, str) or not all(type(part) is str for part in key):
        raise TypeError("a primary key is a sequence of its columns' text forms")
    return orjson.dumps(list(key))
