"""Values that the application itself sealed before this package came.

Format: base64 of `iv16 || tag16 || ciphertext`, AES-256-GCM, no associated data. Such a value is
recognised by opening it, never by its look: base64-looking plaintext exists. An empty ciphertext is
accepted, since its tag proves it as much as any other.
"""

from __future__ import annotations

from binascii import a2b_base64
from functools import cached_property
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from taaxdog_datamig.crypto.keytext import parse_legacy_key

if TYPE_CHECKING:
    from collections.abc import Sequence

_IV_BYTES = 16
_TAG_BYTES = 16
#: Characters of the shortest value, unpadded: 32 bytes.
SHORTEST = 43


class LegacyOpener:
    """Opens the application's values under any of the candidate keys.

    Args:
        materials: candidate keys, 32 bytes each.
        text: one more candidate in the application's own spelling. A pass phrase is stretched (16 MiB and
            some 50 ms) only when the first value that looks like base64 is met.

    Raises:
        KeyFormatError: at the first use, when `text` is not valid Unicode.
    """

    def __init__(self, materials: Sequence[bytes], text: str | None = None) -> None:
        self._materials = tuple(materials)
        self._text = text

    @cached_property
    def _ciphers(self) -> tuple[AESGCM, ...]:
        materials = dict.fromkeys(self._materials)  # ordered, each once
        if self._text is not None:
            materials[parse_legacy_key(self._text, "FIELD_ENCRYPTION_LEGACY_KEY")] = None
        return tuple(AESGCM(material) for material in materials)

    def open(self, text: str) -> str | None:
        """Return the plaintext, or None when the text is not a value the application sealed."""
        if len(text) < SHORTEST:
            return None
        # Strict, so that nothing trailing a value is silently dropped when it is sealed anew.
        try:
            standard = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
            data = a2b_base64(standard + "=" * (-len(standard) % 4), strict_mode=True)
        except ValueError:
            return None
        if len(data) < _IV_BYTES + _TAG_BYTES:
            return None
        iv, tag, sealed = data[:_IV_BYTES], data[_IV_BYTES : _IV_BYTES + _TAG_BYTES], data[32:]
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(iv, sealed + tag, None).decode()
            except (InvalidTag, UnicodeDecodeError):
                continue
        return None
