"""Modern hashes: slow by design, as bcrypt, argon2, Django and passlib write them.

Numbers are bounded by their digits, so that a damaged value does not hold a login service for days.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from binascii import a2b_base64, hexlify
from collections.abc import Callable
from typing import Final, TypeAlias

import attrs
import bcrypt
from argon2.exceptions import Argon2Error
from argon2.low_level import Type, verify_secret

from taaxdog_datamig.passwords.hashing import BCRYPT_BYTES

#: Takes the match of the stored value and the password's bytes.
_Check: TypeAlias = Callable[[re.Match[str], bytes], bool]

_BCRYPT: Final = r"(?P<bcrypt>\$2[aby]\$(?P<log_rounds>0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53})"
_ARGON2: Final = (
    r"(?P<argon2>\$argon2(?P<type>id|i|d)\$(?:v=(?P<version>\d{1,3})\$)?"
    r"m=(?P<memory>\d{1,7}),t=(?P<passes>\d{1,4}),p=(?P<lanes>\d{1,3})\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+)"
)
_PBKDF2_PASSLIB: Final = r"\$(?P<iterations>[1-9]\d{0,7})\$(?P<salt>[A-Za-z0-9./]*)\$(?P<key>[A-Za-z0-9./]+)"
_PBKDF2_DJANGO: Final = r"\$(?P<iterations>[1-9]\d{0,7})\$(?P<salt>[^$]+)\$(?P<key>[A-Za-z0-9+/]+={0,2})"
_SCRYPT_PASSLIB: Final = (
    r"\$scrypt\$ln=(?P<log_n>\d{1,2}),r=(?P<r>\d{1,4}),p=(?P<p>\d{1,3})"
    r"\$(?P<salt>[A-Za-z0-9+/]*)\$(?P<key>[A-Za-z0-9+/]+)"
)
_SCRYPT_DJANGO: Final = (
    r"scrypt\$(?P<n>\d{1,10})\$(?P<salt>[^$]+)\$(?P<r>\d{1,4})\$(?P<p>\d{1,3})"
    r"\$(?P<key>[A-Za-z0-9+/]+={0,2})"
)

#: The shortest key that is compared with, bytes: a stump would match by chance.
_SCRYPT_LEAST_KEY: Final = 16
#: What OpenSSL can be allowed, bytes.
_SCRYPT_MOST_MEMORY: Final = 2**31 - 1

_TYPES: Final = {"id": Type.ID, "i": Type.I, "d": Type.D}


def check_bcrypt(stored: str, secret: bytes) -> bool:
    """Verify against a bcrypt hash, as the library that made it did: of the password, 72 bytes count."""
    return bcrypt.checkpw(secret[:BCRYPT_BYTES], stored.encode("ascii"))


def check_argon2(stored: str, secret: bytes, kind: Type = Type.ID) -> bool:
    """Verify against an argon2 hash.

    Raises:
        Argon2Error: it does not match, or its parameters make no sense.
    """
    return verify_secret(stored.encode("ascii"), secret, kind)


def _bcrypt(match: re.Match[str], secret: bytes) -> bool:
    return check_bcrypt(match["bcrypt"], secret)


def _bcrypt_sha256(match: re.Match[str], secret: bytes) -> bool:
    return check_bcrypt(match["bcrypt"], hexlify(hashlib.sha256(secret).digest()))


def _argon2(match: re.Match[str], secret: bytes) -> bool:
    return check_argon2(match["argon2"], secret, _TYPES[match["type"]])


def _pbkdf2_django(digest: str) -> _Check:
    def check(match: re.Match[str], secret: bytes) -> bool:
        key = a2b_base64(match["key"], strict_mode=True)
        made = hashlib.pbkdf2_hmac(digest, secret, match["salt"].encode(), int(match["iterations"]))
        return hmac.compare_digest(made, key)

    return check


def _pbkdf2_passlib(digest: str) -> _Check:
    def check(match: re.Match[str], secret: bytes) -> bool:
        salt, key = (_unpadded(match[part].replace(".", "+")) for part in ("salt", "key"))
        return hmac.compare_digest(hashlib.pbkdf2_hmac(digest, secret, salt, int(match["iterations"])), key)

    return check


def _scrypt_django(match: re.Match[str], secret: bytes) -> bool:
    key = a2b_base64(match["key"], strict_mode=True)
    return _check_scrypt(match, int(match["n"]), match["salt"].encode(), key, secret)


def _scrypt_passlib(match: re.Match[str], secret: bytes) -> bool:
    return _check_scrypt(
        match, 1 << int(match["log_n"]), _unpadded(match["salt"]), _unpadded(match["key"]), secret
    )


def _check_scrypt(match: re.Match[str], n: int, salt: bytes, key: bytes, secret: bytes) -> bool:
    r, p = int(match["r"]), int(match["p"])
    memory = 128 * r * (n + p + 2)
    if len(key) < _SCRYPT_LEAST_KEY or memory > _SCRYPT_MOST_MEMORY:
        return False
    made = hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=len(key))
    return hmac.compare_digest(made, key)


def _unpadded(text: str) -> bytes:
    return a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)


#: Scheme, regular expression of the whole value, and how it is verified.
_TABLE: Final[tuple[tuple[str, re.Pattern[str], _Check], ...]] = tuple(
    (scheme, re.compile(pattern, re.ASCII), check)
    for scheme, pattern, check in (
        ("bcrypt", _BCRYPT, _bcrypt),
        ("argon2", _ARGON2, _argon2),
        ("scrypt", _SCRYPT_PASSLIB, _scrypt_passlib),
        ("pbkdf2-sha1", rf"\$pbkdf2{_PBKDF2_PASSLIB}", _pbkdf2_passlib("sha1")),
        ("pbkdf2-sha256", rf"\$pbkdf2-sha256{_PBKDF2_PASSLIB}", _pbkdf2_passlib("sha256")),
        ("pbkdf2-sha512", rf"\$pbkdf2-sha512{_PBKDF2_PASSLIB}", _pbkdf2_passlib("sha512")),
        ("django-pbkdf2-sha1", rf"pbkdf2_sha1{_PBKDF2_DJANGO}", _pbkdf2_django("sha1")),
        ("django-pbkdf2-sha256", rf"pbkdf2_sha256{_PBKDF2_DJANGO}", _pbkdf2_django("sha256")),
        ("django-argon2", rf"argon2{_ARGON2}", _argon2),
        ("django-bcrypt", rf"bcrypt\${_BCRYPT}", _bcrypt),
        ("django-bcrypt-sha256", rf"bcrypt_sha256\${_BCRYPT}", _bcrypt_sha256),
        ("django-scrypt", _SCRYPT_DJANGO, _scrypt_django),
    )
)


@attrs.frozen(eq=False)
class Modern:
    """A stored modern hash, taken apart."""

    scheme: str
    _match: re.Match[str] = attrs.field(repr=False)
    _check: _Check = attrs.field(repr=False)

    def number(self, name: str) -> int:
        """Return a parameter: log_rounds of bcrypt; version, memory or passes of argon2.

        Version 16 is what a value without one means.
        """
        return int(self._match[name] or 16)

    def verify(self, secret: bytes) -> bool:
        """Tell whether the password's bytes made it; False, too, when its parameters make no sense."""
        try:
            return self._check(self._match, secret)
        except (ValueError, OverflowError, MemoryError, Argon2Error):
            return False


def parse(stored: str) -> Modern | None:
    """Take a modern hash apart; None for anything else."""
    for scheme, pattern, check in _TABLE:
        if (match := pattern.fullmatch(stored)) is not None:
            name = f"argon2{match['type']}" if scheme == "argon2" else scheme
            return Modern(name, match, check)
    return None


#: Every scheme that `parse` names.
SCHEMES: Final = frozenset({scheme for scheme, _, _ in _TABLE} - {"argon2"} | {f"argon2{t}" for t in _TYPES})
