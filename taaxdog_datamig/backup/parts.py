"""Parts: a stream compressed with zstd, then sealed, as it goes to the store and as it comes back."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Any

import attrs
import zstandard

from taaxdog_datamig.crypto.chunked import ChunkedSealer, opened
from taaxdog_datamig.errors import BackupError, TokenError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from taaxdog_datamig.backup.stores import Store

#: Largest window of the compressor as a power of two, bytes: what a reader needs of memory.
WINDOW_LOG = 23
#: Bytes that go into the decompressor, and come out of it, at a time.
_READ = 1 << 20
#: Larger than whatever is allocated here again and again, bytes.
_ALLOCATED = 8 << 20


@attrs.frozen(kw_only=True)
class Part:
    """An object of a backup, as its manifest names it."""

    #: Within the backup's folder.
    name: str
    #: Bytes as it is stored, and the SHA-256 of that.
    size: int
    sha256: bytes
    #: Of the stream that it holds, before compression.
    plain_size: int
    #: Rows in it; 0 where it holds none.
    rows: int = 0


def context_of(backup: str, name: str) -> str:
    """What binds a sealed part to its place."""
    return f"backup|{backup}|{name}"


def keep_memory() -> None:
    """Have the allocator keep what is freed, instead of asking the system for each of many buffers anew.

    glibc gives back at once what is larger than the largest that it has seen freed; pages that come anew then
    cost more than what is done with them: sealing takes five times as long. Elsewhere this does nothing.
    """
    bytes(_ALLOCATED)


@attrs.define
class PartWriter:
    """Takes a stream and writes a part. Blocks; feed it on a thread, one piece at a time.

    Each piece becomes a frame: compressed at once, it needs no copy of what came before. A megabyte or two
    lose nothing that way at the fast levels. A frame has its own checksum of what went into it; what came out
    is hashed. To hash the much larger stream as well would tell no more, and take a tenth of the time.
    """

    _write: Callable[[bytes], object]
    _name: str
    _sealer: ChunkedSealer | None
    _compressor: zstandard.ZstdCompressor = attrs.field(init=False)
    _stored: hashlib._Hash = attrs.field(factory=hashlib.sha256, init=False)
    _stored_size: int = attrs.field(default=0, init=False)
    _plain_size: int = attrs.field(default=0, init=False)
    level: int = attrs.field(kw_only=True)

    def __attrs_post_init__(self) -> None:
        # A level's own window is the fastest; only those of high levels are beyond what readers allow.
        usual = zstandard.ZstdCompressionParameters.from_level(self.level).window_log
        parameters = zstandard.ZstdCompressionParameters.from_level(
            self.level, window_log=min(usual, WINDOW_LOG), write_checksum=True, write_content_size=True
        )
        self._compressor = zstandard.ZstdCompressor(compression_params=parameters)
        if self._sealer is not None:
            self._put(self._sealer.header)

    def feed(self, data: bytes | bytearray) -> None:
        """Take the next bytes of the stream."""
        self._plain_size += len(data)
        compressed = self._compressor.compress(data)
        self._put(compressed if self._sealer is None else self._sealer.update(compressed))

    def finish(self, rows: int = 0) -> Part:
        """Take the end of the stream."""
        if not self._plain_size:
            self.feed(b"")
        if self._sealer is not None:
            self._put(self._sealer.finish())
        return Part(
            name=self._name,
            size=self._stored_size,
            sha256=self._stored.digest(),
            plain_size=self._plain_size,
            rows=rows,
        )

    def _put(self, data: bytes) -> None:
        self._stored.update(data)
        self._stored_size += len(data)
        self._write(data)


@contextlib.contextmanager
def part_writer(
    store: Store, backup: str, name: str, *, key: bytes | None, level: int
) -> Iterator[PartWriter]:
    """Write a part; it is in the store when the block ends. `finish` must be called in it.

    Args:
        store: where.
        backup: the backup's id.
        name: of the part, within the backup.
        key: seals it; None: it is compressed only.
        level: of zstd.
    """
    keep_memory()
    sealer = None if key is None else ChunkedSealer(key, context_of(backup, name))
    with store.writer(f"{backup}/{name}") as write:
        yield PartWriter(write, name, sealer, level=level)


def read_part(store: Store, backup: str, part: Part, *, key: bytes | None) -> Iterator[bytes]:
    """The stream that a part holds, verified as it comes. Only at its end is it known to be whole.

    Args:
        store: where.
        backup: the backup's id.
        part: as the manifest has it.
        key: as it was sealed with; None: not sealed.

    Raises:
        BackupError: the part is missing, cut short, damaged or another one; it is named.
    """
    keep_memory()
    stored, sizes = hashlib.sha256(), [0, 0]

    def counted() -> Iterator[bytes]:
        for piece in store.read(f"{backup}/{part.name}"):
            stored.update(piece)
            sizes[0] += len(piece)
            yield piece

    pieces = counted() if key is None else opened(counted(), key, context_of(backup, part.name))
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << WINDOW_LOG)
    try:
        # What comes out is bounded: a few bytes can unpack to gigabytes.
        source: Any = _Source(pieces)
        frames = decompressor.stream_reader(source, read_size=_READ, read_across_frames=True)
        while data := frames.read(_READ):
            sizes[1] += len(data)
            if sizes[1] > part.plain_size:
                raise _damaged(backup, part)
            yield data
        for _ in pieces:
            pass
    except (TokenError, zstandard.ZstdError):
        raise _damaged(backup, part) from None
    if sizes != [part.size, part.plain_size] or stored.digest() != part.sha256:
        raise _damaged(backup, part)


@attrs.define
class _Source:
    """Pieces as a file."""

    _pieces: Iterator[bytes]
    _held: bytes = b""

    def read(self, size: int) -> bytes:
        """The next bytes: never more than `size`, the decompressor would write beyond its buffer."""
        self._held = self._held or next(self._pieces, b"")
        given, self._held = self._held[:size], self._held[size:]
        return given


def _damaged(backup: str, part: Part) -> BackupError:
    return BackupError(
        f"part {part.name} of backup {backup} is damaged, or another part lies in its place",
        "Take it from a copy of the backup, or use another backup, and look at the disk",
    )
