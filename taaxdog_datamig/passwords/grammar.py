"""The wrapped form: a modern hash around a legacy digest.

    $datamig$v1$<inner>$<prepared><outer>

    $datamig$v1$md5$hex$2b$12$...
    $datamig$v1$sha1,ps,73616c74$hmac-sha384,2026$argon2id$v=19$m=19456,t=2,p=1$...$...

Every field is drawn from a closed set or from an alphabet without `$` and `,`; each meaning has one
spelling, and a text that is anything else is no wrapped form. The whole is specified in
docs/reference/password-hashes.md.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from binascii import b2a_base64
from typing import TYPE_CHECKING, Final, cast

import attrs

from taaxdog_datamig.passwords.hashing import BCRYPT_BYTES
from taaxdog_datamig.passwords.legacy import DIGEST_BYTES, Algorithm, Inner, Order
from taaxdog_datamig.passwords.pepper import PEPPER_ID

if TYPE_CHECKING:
    from taaxdog_datamig.passwords.costs import Scheme

PREFIX: Final = "$datamig$"

_ORDERS: Final[dict[str, Order]] = {
    "sp": "salt+password",
    "ps": "password+salt",
    "sps": "salt+password+salt",
}
_CODES: Final = {order: code for code, order in _ORDERS.items()}

_FORM: Final = re.compile(
    rf"""
    \$datamig\$v1
    \$(?P<algorithm>{"|".join(DIGEST_BYTES)})(?:,(?P<order>{"|".join(_ORDERS)}),(?P<salt>(?:[0-9a-f]{{2}})+))?
    \$(?P<prepared>hex|sha384|hmac-sha384,(?P<pepper>{PEPPER_ID}))
    (?P<outer>
        \$2b\$(?:0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{{53}}
      | \$argon2id\$v=19\$m=[1-9][0-9]{{0,6}},t=[1-9][0-9]{{0,3}},p=[1-9][0-9]{{0,2}}
        \$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+
    )
    """,
    re.VERBOSE | re.ASCII,
)


@attrs.frozen(kw_only=True)
class Wrapped:
    """A wrapped form, taken apart."""

    inner: Inner
    #: Id of the pepper's secret; None when there is none.
    pepper_id: str | None
    #: The modern hash, as its library wrote it.
    outer: str = attrs.field(repr=False)

    @property
    def to(self) -> Scheme:
        """The scheme of the modern hash."""
        return "argon2id" if self.outer.startswith("$argon2id$") else "bcrypt"

    @property
    def text(self) -> str:
        """The form as it is stored."""
        inner: str = self.inner.algorithm
        if self.inner.order != "password":
            inner += f",{_CODES[self.inner.order]},{self.inner.salt.hex()}"
        return f"{PREFIX}v1${inner}${_preparation(self.inner.algorithm, self.pepper_id)}{self.outer}"


def parse(stored: str) -> Wrapped | None:
    """Take a wrapped form apart; None for a text that `Wrapped.text` would not have written."""
    match = _FORM.fullmatch(stored)
    if match is None:
        return None
    algorithm = cast("Algorithm", match["algorithm"])
    if match["prepared"] != _preparation(algorithm, match["pepper"]):
        return None
    inner = Inner(
        algorithm=algorithm,
        order=_ORDERS[match["order"]] if match["order"] else "password",
        salt=bytes.fromhex(match["salt"] or ""),
    )
    return Wrapped(inner=inner, pepper_id=match["pepper"], outer=match["outer"])


def _preparation(algorithm: Algorithm, pepper_id: str | None) -> str:
    """Name what stands between digest and modern hash."""
    if pepper_id is not None:
        return f"hmac-sha384,{pepper_id}"
    return "hex" if 2 * DIGEST_BYTES[algorithm] <= BCRYPT_BYTES else "sha384"


def prepare(digest: str, secret: bytes | None) -> bytes:
    """Make of a digest in lower-case hex what the modern hash takes: 72 bytes of ASCII or fewer.

    With a pepper's secret, base64 of HMAC-SHA-384, as the OWASP Password Storage Cheat Sheet gives it.
    Without, the digest itself where it fits, else base64 of its SHA-384; both are 64 characters.
    """
    data = digest.encode("ascii")
    if secret is not None:
        return b2a_base64(hmac.digest(secret, data, "sha384"), newline=False)
    if len(data) > BCRYPT_BYTES:
        return b2a_base64(hashlib.sha384(data).digest(), newline=False)
    return data
