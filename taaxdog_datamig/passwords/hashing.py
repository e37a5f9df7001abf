"""New bcrypt and argon2id hashes. Both libraries let go of the GIL while they work."""

from __future__ import annotations

import os
from typing import Final, get_args

import bcrypt
from argon2.low_level import Type, hash_secret

from taaxdog_datamig.errors import PasswordUnfit, UsageError
from taaxdog_datamig.passwords.costs import DEFAULT_COST, Cost, Scheme

#: bcrypt takes no more than this, bytes. bcrypt 5 refuses longer passwords, older releases and most other
#: libraries cut them without a word.
BCRYPT_BYTES: Final = 72
#: Lengths of an argon2id hash, bytes (RFC 9106, section 4).
_ARGON2_SALT: Final = 16
_ARGON2_TAG: Final = 32


def hash_password(candidate: str, *, to: Scheme = "bcrypt", cost: Cost = DEFAULT_COST) -> str:
    """Hash a password as a plain modern hash that any library of the scheme reads.

    Takes as long as `cost` says: call it in a thread, from an event loop.

    Returns:
        `$2b$...` or `$argon2id$v=19$...`

    Raises:
        PasswordUnfit: for bcrypt, the password has more than 72 bytes of UTF-8 or holds a NUL, which
            libraries cut at; for both, it holds half of a surrogate pair.
        UsageError: there is no such scheme.
    """
    try:
        secret = candidate.encode()
    except UnicodeEncodeError:
        raise PasswordUnfit("a password is not valid Unicode") from None
    if to == "bcrypt" and (len(secret) > BCRYPT_BYTES or b"\0" in secret):
        raise PasswordUnfit(
            "bcrypt would cut a password short: it is over 72 bytes or holds a NUL",
            "Keep the hash there is, or hash to argon2id",
        )
    return hash_bytes(secret, to, cost)


def hash_bytes(secret: bytes, to: Scheme, cost: Cost) -> str:
    """Hash what is known to fit: for bcrypt 72 bytes or fewer, none of them NUL.

    Raises:
        UsageError: there is no such scheme.
    """
    if to not in get_args(Scheme):
        raise UsageError(f"no password scheme is named {to}", f"Known are: {', '.join(get_args(Scheme))}")
    if to == "bcrypt":
        return bcrypt.hashpw(secret, bcrypt.gensalt(cost.bcrypt_log_rounds)).decode("ascii")
    return hash_secret(
        secret,
        os.urandom(_ARGON2_SALT),
        cost.argon2_passes,
        cost.argon2_memory,
        cost.argon2_lanes,
        _ARGON2_TAG,
        Type.ID,
    ).decode("ascii")
