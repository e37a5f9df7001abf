"""What a stream of COPY holds, whatever the order of its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import attrs

from taaxdog_datamig.errors import BackupError

#: COPY's binary form: eleven bytes of signature, flags, and the length of an extension that nobody uses.
_HEADER = 19
_FIELDS, _LENGTH = 2, 4
_END = -1


@attrs.define
class RowSum:
    """The number of rows, and the sum of their BLAKE2b digests: the same for the same rows in any order."""

    binary: bool
    rows: int = 0
    total: int = 0
    _held: bytearray = attrs.field(factory=bytearray, init=False, repr=False)

    def begin(self) -> Callable[[bytes], None]:
        """Where the pieces of one stream go; a table may have several streams, one after the other."""
        if self._held:
            raise BackupError("a stream ended within a row")
        return Binary(self).feed if self.binary else self._text

    def add(self, row: bytes) -> None:
        """Count a row."""
        self.rows += 1
        digest = hashlib.blake2b(row, digest_size=16).digest()
        self.total = (self.total + int.from_bytes(digest, "big")) % (1 << 128)

    def _text(self, piece: bytes) -> None:
        self._held += piece
        *lines, rest = self._held.split(b"\n")
        for line in lines:
            self.add(bytes(line))
        self._held = bytearray(rest)


@attrs.define
class Binary:
    """Takes a stream in COPY's binary form apart."""

    _sum: RowSum
    _held: bytearray = attrs.field(factory=bytearray, init=False, repr=False)
    _begun: bool = attrs.field(default=False, init=False)

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._held += piece
        at = 0
        if not self._begun:
            if len(self._held) < _HEADER:
                return
            at, self._begun = _HEADER, True
        while (end := self._row_end(at)) is not None:
            self._sum.add(bytes(self._held[at:end]))
            at = end
        del self._held[:at]

    def _row_end(self, at: int) -> int | None:
        """Where the row that begins at `at` ends; None where it has not come whole, or is the trailer."""
        held = self._held
        if len(held) < at + _FIELDS:
            return None
        fields = int.from_bytes(held[at : at + _FIELDS], "big", signed=True)
        if fields == _END:
            return None
        at += _FIELDS
        for _ in range(fields):
            if len(held) < at + _LENGTH:
                return None
            length = int.from_bytes(held[at : at + _LENGTH], "big", signed=True)
            at += _LENGTH + max(0, length)
        return at if at <= len(held) else None
