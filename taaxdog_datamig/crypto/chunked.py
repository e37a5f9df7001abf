"""Sealed streams: a message of any length in 16 KiB chunks, so that it is written and read as it comes.

    salt24 || commitment32 || chunk || chunk || ...

This is `chunked-encryption` of C2SP (https://c2sp.org/chunked-encryption) with SHA-512 and AES-256-GCM. Key,
base nonce and commitment come from HKDF-Expand of the input key, with the salt and a context in its info; a
chunk's nonce is the base nonce XOR its number. The last chunk is shorter than the others, and may be empty:
a message that was cut off at a chunk's end has none. A message moved elsewhere has another context.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from taaxdog_datamig.errors import TokenError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHUNK: Final = 16 << 10
_TAG: Final = 16
_SALT: Final = 24
_COMMITMENT: Final = 32
#: Bytes before the first chunk.
HEADER: Final = _SALT + _COMMITMENT
_INFO: Final = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"
_NONCE: Final = 12


class _Chunks:
    """Key and nonces of one message."""

    def __init__(self, key: bytes, salt: bytes, context: str) -> None:
        derived = HKDFExpand(SHA512(), 32 + _NONCE + _COMMITMENT, _INFO + salt + context.encode()).derive(key)
        self.cipher = AESGCM(derived[:32])
        self._base = int.from_bytes(derived[32 : 32 + _NONCE], "big")
        self.commitment = derived[32 + _NONCE :]
        self._number = 0

    def nonce(self) -> bytes:
        """Of the next chunk."""
        nonce = (self._base ^ self._number).to_bytes(_NONCE, "big")
        self._number += 1
        return nonce


class ChunkedSealer:
    """Seals one message.

    Args:
        key: 32 random bytes.
        context: where the message belongs.
        salt: for test vectors alone; random by default, never the same twice under a key.
    """

    def __init__(self, key: bytes, context: str, salt: bytes | None = None) -> None:
        salt = os.urandom(_SALT) if salt is None else salt
        self._chunks = _Chunks(key, salt, context)
        self._held = b""
        #: The first bytes of the sealed message.
        self.header = salt + self._chunks.commitment

    def update(self, data: bytes) -> bytes:
        """Seal the next bytes of the message; returns what is whole by now."""
        data = self._held + data
        view = memoryview(data)
        whole = len(data) // CHUNK * CHUNK
        encrypt, nonce = self._chunks.cipher.encrypt, self._chunks.nonce
        sealed = [encrypt(nonce(), view[at : at + CHUNK], None) for at in range(0, whole, CHUNK)]
        self._held = data[whole:]
        return b"".join(sealed)

    def finish(self) -> bytes:
        """Seal the last chunk."""
        return self._chunks.cipher.encrypt(self._chunks.nonce(), self._held, None)


def opened(pieces: Iterable[bytes], key: bytes, context: str) -> Iterator[bytes]:
    """Open a sealed message as it comes. What was yielded is authentic; that it is whole is known at the end.

    Args:
        pieces: of the sealed message, of any size.
        key: as it was sealed with.
        context: as it was sealed with.

    Raises:
        TokenError: another key or context, damage, or the end is missing.
    """
    held, chunks = b"", None
    step = CHUNK + _TAG
    for piece in pieces:
        held += piece
        if chunks is None:
            if len(held) < HEADER:
                continue
            chunks = _committed(held[:HEADER], key, context)
            held = held[HEADER:]
        # What is left may be the last chunk, which is shorter.
        whole = len(held) // step * step
        if whole:
            view = memoryview(held)
            yield b"".join(_chunk(chunks, view[at : at + step], context) for at in range(0, whole, step))
            held = held[whole:]
    if chunks is None or len(held) < _TAG:
        raise TokenError(f"{context} is cut short")
    yield _chunk(chunks, held, context)


def _committed(header: bytes, key: bytes, context: str) -> _Chunks:
    chunks = _Chunks(key, header[:_SALT], context)
    if not hmac.compare_digest(chunks.commitment, header[_SALT:]):
        raise TokenError(f"{context} was sealed with another key, for another place, or is damaged")
    return chunks


def _chunk(chunks: _Chunks, sealed: bytes | memoryview, context: str) -> bytes:
    try:
        return chunks.cipher.decrypt(chunks.nonce(), sealed, None)
    except InvalidTag:
        raise TokenError(f"{context} is damaged") from None
