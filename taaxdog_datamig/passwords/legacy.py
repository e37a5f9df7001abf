"""Legacy digests: one round of a fast hash, bare or with a salt.

A bare digest names no algorithm: 32 hex digits are taken for MD5, 40 for SHA-1, 64 for SHA-256 and 128 for
SHA-512. Where an application meant something else by them, it says so with a form of its own.
"""

from __future__ import annotations

import hashlib
import re
from binascii import a2b_base64
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias, get_args

import attrs

from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig.passwords import modern

if TYPE_CHECKING:
    from collections.abc import Mapping

Algorithm: TypeAlias = Literal["md5", "sha1", "sha224", "sha256", "sha384", "sha512"]
#: What was hashed. All parts are bytes; the password is UTF-8.
Order: TypeAlias = Literal["password", "salt+password", "password+salt", "salt+password+salt"]
Encoding: TypeAlias = Literal["text", "hex", "base64"]

DIGEST_BYTES: Final = {"md5": 16, "sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64}

#: By length, characters. SHA-224 and SHA-384 are too rare to be guessed.
_BARE: Final[dict[int, Algorithm]] = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
_HEX: Final = re.compile(r"[0-9a-f]+|[0-9A-F]+")
#: What `recognise` calls everything else; a form has a name of its own.
_RESERVED: Final = modern.SCHEMES | {
    *("md5", "sha1", "sha256", "sha512", "wrapped-bcrypt", "wrapped-argon2id"),
    *("empty", "unusable", "unknown"),
}
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@attrs.frozen(kw_only=True)
class Inner:
    """How a legacy digest was made of the password."""

    algorithm: Algorithm
    order: Order = "password"
    #: Empty exactly when the order has no salt.
    salt: bytes = attrs.field(default=b"", repr=False)

    def digest(self, secret: bytes) -> str:
        """Return the digest of a password's bytes, in lower-case hex."""
        parts = [secret if part == "password" else self.salt for part in self.order.split("+")]
        # Marked as no security: builds of Python under FIPS rules refuse MD5 otherwise.
        return hashlib.new(self.algorithm, b"".join(parts), usedforsecurity=False).hexdigest()


@attrs.frozen
class LegacyHash:
    """A stored legacy digest, taken apart."""

    #: md5, sha1, sha256, sha512, or the name of the caller's form.
    name: str
    inner: Inner
    #: In lower-case hex.
    digest: str = attrs.field(repr=False)


def _one_of(words: Any) -> Any:
    """An attrs validator: one of a Literal's words."""
    known = get_args(words)

    def check(_: object, attribute: attrs.Attribute[str], value: object) -> None:
        if value not in known:
            raise SettingsError(
                f"{attribute.name} of a legacy password form is unknown", f"Known are: {', '.join(known)}"
            )

    return check


def _names_a_form(_: object, __: object, name: Any) -> None:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise SettingsError(
            "the name of a legacy password form does not fit", "Use 1 to 64 of a-z, 0-9 and `-`"
        )
    if name in _RESERVED:
        raise SettingsError(f"a legacy password form is named {name}", "That is built in: choose another")


@attrs.frozen(kw_only=True)
class LegacyForm:
    """A legacy form that only the application knows, such as `<salt>:<md5 of salt and password>`.

    For example::

        LegacyForm(
            name="md5-salted",
            pattern=r"(?P<salt>[0-9a-f]{8}):(?P<digest>[0-9a-f]{32})",
            algorithm="md5",
            order="salt+password",
        )

    Raises:
        SettingsError: the name does not fit or is that of a built-in scheme; a field has an unknown value;
            or the pattern does not compile, or has other named groups than `digest` and, where the order
            has a salt, `salt`.
    """

    #: a-z, 0-9 and `-`; shown in reports.
    name: str = attrs.field(validator=_names_a_form)
    algorithm: Algorithm = attrs.field(validator=_one_of(Algorithm))
    order: Order = attrs.field(default="password", validator=_one_of(Order))
    #: How the salt's bytes are spelled; text means UTF-8.
    salt_encoding: Encoding = attrs.field(default="text", validator=_one_of(Encoding))
    digest_encoding: Literal["hex", "base64"] = attrs.field(
        default="hex", validator=_one_of(Literal["hex", "base64"])
    )
    #: Regular expression of the whole stored value.
    pattern: str = attrs.field()

    @pattern.validator
    def _pattern_fits(self, _: object, pattern: str) -> None:
        try:
            groups = set(re.compile(pattern).groupindex)
        except (re.error, TypeError):
            raise SettingsError(
                f"the pattern of password form {self.name} is no regular expression"
            ) from None
        wanted = {"digest"} if self.order == "password" else {"digest", "salt"}
        if groups != wanted:
            raise SettingsError(
                f"the pattern of password form {self.name} does not fit its order",
                f"Its named groups must be: {', '.join(sorted(wanted))}",
            )

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> Self:
        """Make a form of a table of settings, with the class's fields as its keys.

        Raises:
            SettingsError: a key is unknown or missing; and what the class raises.
        """
        known = {field.name: field for field in attrs.fields(cls)}
        if unknown := sorted(table.keys() - known.keys()):
            raise SettingsError(
                f"legacy_passwords: unknown key {unknown[0]!r}", f"Known are: {', '.join(known)}"
            )
        for name, field in known.items():
            if field.default is attrs.NOTHING and name not in table:
                raise SettingsError(f"legacy_passwords: an entry has no {name}")
        return cls(**table)

    def read(self, stored: str) -> LegacyHash | None:
        """Take a stored value apart; None when it has another form."""
        match = re.fullmatch(self.pattern, stored)
        if match is None:
            return None
        salted = self.order != "password"
        digest = _decoded(match["digest"], self.digest_encoding)
        salt = _decoded(match["salt"], self.salt_encoding) if salted else b""
        if digest is None or len(digest) != DIGEST_BYTES[self.algorithm] or salt is None:
            return None
        # An empty salt says nothing: such a value is spelled as one without.
        inner = Inner(algorithm=self.algorithm, order=self.order if salt else "password", salt=salt)
        return LegacyHash(self.name, inner, digest.hex())


def bare(stored: str) -> LegacyHash | None:
    """Take hex digits alone for the digest of their length; None for anything else."""
    algorithm = _BARE.get(len(stored))
    if algorithm is None or _HEX.fullmatch(stored) is None:
        return None
    return LegacyHash(algorithm, Inner(algorithm=algorithm), stored.lower())


def _decoded(text: str | None, encoding: Encoding) -> bytes | None:
    """The bytes that a group spells; None when it took no part in the match or spells none."""
    if text is None:
        return None
    try:
        if encoding == "text":
            return text.encode()
        if encoding == "hex":
            return bytes.fromhex(text)
        return a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:  # UnicodeEncodeError and binascii.Error are both of this kind
        return None
