"""Sealed blobs: before-images and archives, compressed and then encrypted under a run's data key.

    0x01 || zstd                                  compressed only
    0x02 || nonce12 || AES-256-GCM(zstd) || tag16   associated data: 0x02 || context

Deleting the wrapped data key shreds every blob of the run.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from taaxdog_datamig.crypto.keytext import KEY_BYTES
from taaxdog_datamig.errors import TokenError

_COMPRESSED: Final = b"\x01"
_SEALED: Final = b"\x02"
_NONCE_BYTES: Final = 12
#: Bytes from which level 1 is taken: on rows as JSON it came out three times as fast and no larger.
_LARGE: Final = 1 << 20
#: Largest payload, bytes: a blob that claims more is refused before memory is taken for it.
MAX_PAYLOAD: Final = 256 * 1024 * 1024


def new_data_key() -> bytes:
    """Return a fresh random key for one run."""
    return os.urandom(KEY_BYTES)


class BlobSealer:
    """Seals and opens the blobs of one run.

    Args:
        data_key: 32 bytes; None when the run holds nothing sensitive and no key is configured: blobs are
            compressed only, and then their context is not bound to them.
    """

    def __init__(self, data_key: bytes | None) -> None:
        self._cipher = None if data_key is None else AESGCM(data_key)

    def __repr__(self) -> str:
        return f"BlobSealer({'compressed only' if self._cipher is None else 'sealed'})"

    @property
    def sealing(self) -> bool:
        """Whether blobs are sealed, or only compressed."""
        return self._cipher is not None

    def seal(self, payload: bytes, context: str) -> bytes:
        """Compress a payload, and seal it when there is a data key.

        Args:
            payload: at most 256 MiB.
            context: where the blob belongs; a blob moved elsewhere does not open.

        Raises:
            TokenError: the payload is too large.
        """
        if len(payload) > MAX_PAYLOAD:
            raise TokenError(
                f"a payload of {context} has more than {MAX_PAYLOAD:,} bytes", "Use smaller chunks"
            )
        # A compressor of its own: one object must not be used by two threads at once.
        level = 3 if len(payload) < _LARGE else 1
        compressed = zstandard.ZstdCompressor(level=level, write_checksum=True).compress(payload)
        if self._cipher is None:
            return _COMPRESSED + compressed
        nonce = os.urandom(_NONCE_BYTES)
        return _SEALED + nonce + self._cipher.encrypt(nonce, compressed, _SEALED + context.encode())

    def open(self, blob: bytes, context: str) -> bytes:
        """Open what `seal` made.

        Raises:
            TokenError: another key or context, damage, or the form that this sealer does not make: with
                a data key, an unsealed blob would be one that anybody could have put there.
        """
        form, body = blob[:1], blob[1:]
        if form != (_COMPRESSED if self._cipher is None else _SEALED):
            raise TokenError(f"a blob of {context} is not in the form that its run wrote")
        if self._cipher is not None:
            nonce, sealed = body[:_NONCE_BYTES], body[_NONCE_BYTES:]
            try:
                body = self._cipher.decrypt(nonce, sealed, _SEALED + context.encode())
            except (InvalidTag, ValueError):  # ValueError: cut shorter than a nonce
                raise TokenError(
                    f"a blob of {context} does not open: another key, moved or damaged"
                ) from None
        try:
            # The size in the header decides what is allocated, so it is looked at first; -1: not there.
            if not 0 <= zstandard.frame_content_size(body) <= MAX_PAYLOAD:
                raise TokenError(f"a blob of {context} claims more than {MAX_PAYLOAD:,} bytes")
            return zstandard.ZstdDecompressor().decompress(body, allow_extra_data=False)
        except zstandard.ZstdError:
            raise TokenError(f"a blob of {context} is damaged") from None


def digest(value: str | None, key: bytes) -> bytes:
    """Return a 16-byte keyed digest (BLAKE2b) of a column's text form; None differs from "".

    It lets a rollback recognise what the run wrote without keeping it. Never unkeyed: a TFN has 10**9
    forms, and a table of their hashes is small.

    Raises:
        ValueError: the key is empty or longer than 64 bytes.
    """
    return Digester(key).digest(value)


class Digester:
    """Makes many digests under one key, see `digest`."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        if not key:
            raise ValueError("a digest needs a key")
        self._keyed = hashlib.blake2b(digest_size=16, key=key, person=b"datamig/digest/1")

    def __repr__(self) -> str:
        return "Digester()"

    def digest(self, value: str | None) -> bytes:
        """Return the digest of a column's text form."""
        hasher = self._keyed.copy()  # half the time of a new one
        hasher.update(b"\x00" if value is None else b"\x01" + value.encode())
        return hasher.digest()
