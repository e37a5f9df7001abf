"""Keys as people write them down: hex, base64, or the application's pass phrase.

Nothing here ever quotes a key. A text that could be a damaged key is refused rather than taken for a
pass phrase: it would seal the data under a key that nobody has written down.
"""

from __future__ import annotations

import os
import re
from binascii import a2b_base64

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from taaxdog_datamig.errors import KeyFormatError

#: Bytes of a master key: AES-256.
KEY_BYTES = 32
_BASE64_LENGTH = 44

KID = re.compile(r"[A-Za-z0-9_-]{1,32}")

_HEX = re.compile(r"[0-9A-Fa-f]{64}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{43}=")

#: A pass phrase is at least this long, characters.
_PHRASE_LENGTH = 20
#: Lengths of a key in hex or base64, give or take a character lost or doubled in copying.
_DAMAGED_LENGTHS = frozenset({43, 44, 45, 63, 64, 65})
_QUOTES_AND_SPACE = " \t\r\n\"'`"
#: A key with a prefix, a suffix or its id still on it.
_KEY_INSIDE = re.compile(r"[A-Za-z0-9+/]{40}")
#: Hex in groups: `01:23:45 ...`.
_HEX_INSIDE = re.compile(r"[0-9A-Fa-f]{32}")

_EXPECTED = (
    "Expected are 64 hex digits or 44 base64 characters: `datamig keys generate` prints a new key; a pass "
    "phrase of the application's that has another form goes in FIELD_ENCRYPTION_LEGACY_KEY"
)


def generate_key() -> str:
    """Return a new random master key as 64 hex digits."""
    return os.urandom(KEY_BYTES).hex()


def parse_key(text: str, source: str) -> bytes:
    """Turn a key's text into its 32 bytes.

    Args:
        text: 64 hex digits, 44 base64 characters (either alphabet), or a pass phrase that cannot be a
            damaged key.
        source: where it was found, for the message: `FIELD_ENCRYPTION_KEY`, `entry 2 of ...`.

    Raises:
        KeyFormatError: it is none of these, or a placeholder.
    """
    material = _decoded(text)
    if material is None:
        if not _is_pass_phrase(text):
            long = f"it has {len(text)} characters"
            if len(text.strip()) in {2 * KEY_BYTES, _BASE64_LENGTH}:
                long += ", not all of them hex digits or base64"
            raise KeyFormatError(f"{source} is no key: {long}", _EXPECTED)
        return stretch(text, source)
    if len(set(material)) == 1:
        raise KeyFormatError(f"{source} is a placeholder: one byte, repeated", _EXPECTED)
    return material


def parse_legacy_key(text: str, source: str) -> bytes:
    """Turn the application's own key into bytes, by the application's own rule.

    Source of the rule: 64 hex digits, or 44 base64 characters, else `scrypt(text, "salt", 32)`.

    Raises:
        KeyFormatError: the text is not valid Unicode.
    """
    return _decoded(text) or stretch(text, source)


def parse_keys(text: str, source: str) -> list[tuple[str | None, bytes]]:
    """Read `id:key` entries separated by commas or line ends; the id may be left out.

    Raises:
        KeyFormatError: an entry is no key, or there is none.
    """
    entries = [entry for part in re.split(r"[,\r\n]", text) if (entry := part.strip())]
    if not entries:
        raise KeyFormatError(f"{source} holds no key", _EXPECTED)
    keys: list[tuple[str | None, bytes]] = []
    for number, entry in enumerate(entries, 1):
        kid, colon, key = entry.partition(":")
        named = bool(colon) and KID.fullmatch(kid) is not None
        place = f"entry {number} of {source}"
        keys.append((kid, parse_key(key.strip(), place)) if named else (None, parse_key(entry, place)))
    return keys


def stretch(phrase: str, source: str) -> bytes:
    """Derive a key from a pass phrase as Node's `crypto.scryptSync(phrase, "salt", 32)` does.

    The cost and the fixed salt are the application's (N=16384, r=8, p=1), not a choice made here.

    Raises:
        KeyFormatError: the phrase is not valid Unicode.
    """
    try:
        data = phrase.encode()
    except UnicodeEncodeError:
        raise KeyFormatError(f"{source} is not valid UTF-8", _EXPECTED) from None
    return Scrypt(salt=b"salt", length=KEY_BYTES, n=16384, r=8, p=1).derive(data)


def _decoded(text: str) -> bytes | None:
    text = text.strip()
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    if _BASE64.fullmatch(text):
        return a2b_base64(text.replace("-", "+").replace("_", "/"))
    return None


def _is_pass_phrase(text: str) -> bool:
    core = text.strip(_QUOTES_AND_SPACE)
    return (
        len(core) >= _PHRASE_LENGTH
        and len(core) not in _DAMAGED_LENGTHS
        and len(text) not in _DAMAGED_LENGTHS
        and re.search(r"[^A-Za-z0-9+/=]", core) is not None
        and _KEY_INSIDE.search(core) is None
        and _HEX_INSIDE.search(re.sub(r"[\s:-]", "", core)) is None
    )
