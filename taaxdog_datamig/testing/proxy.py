"""A proxy between a client and PostgreSQL that cuts connections at chosen moments."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import attrs

if TYPE_CHECKING:
    from typing import Self

#: The server's answer to a COMMIT that was done: message type, length, tag.
COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"
#: What asyncpg sends to commit.
COMMIT = b"COMMIT;\x00"

Side: TypeAlias = Literal["client", "server"]
_AT_ONCE = 65536


@attrs.define
class Cut:
    """Cut the connection on which `pattern` passes for the `nth` time."""

    side: Side
    #: Bytes that one side sends; empty: whatever it sends.
    pattern: bytes
    nth: int = 1
    #: Whether what was sent still arrives.
    arrives: bool = True
    #: Cut again when it has passed so many times more; 0: once is enough.
    again: float = 0
    #: By how much more it may pass after each cut, so that any work gets through in the end.
    growth: float = 1.0
    #: How often it has struck.
    done: int = 0

    def strikes(self, side: Side, tail: bytes, data: bytes) -> bool:
        """Whether to cut now that one side sent `data` after what ended with `tail`."""
        if side != self.side or (self.done and not self.again):
            return False
        # The pattern may have begun in what was sent before.
        before = tail[1 - len(self.pattern) :] if len(self.pattern) > 1 else b""
        self.nth -= (before + data).count(self.pattern) if self.pattern else 1
        if self.nth > 0:
            return False
        self.done += 1
        self.nth = round(self.again)
        self.again *= self.growth
        return True


@attrs.define
class Proxy:
    """Listens on 127.0.0.1 for the time of `async with`.

    Args:
        target: URL of the server. What passes is looked at, and so not encrypted on the way.
        cut: when to cut; may be set at any time.
    """

    target: str = attrs.field(repr=False)
    cut: Cut | None = None
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = attrs.field(factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    def dsn(self, dsn: str) -> str:
        """`dsn`, by way of this proxy."""
        assert self._server is not None
        parts = urlsplit(dsn)
        user = parts.netloc.rpartition("@")[0]
        port = self._server.sockets[0].getsockname()[1]
        options = {name: values[0] for name, values in parse_qs(parts.query).items()}
        query = {name: value for name, value in options.items() if name not in {"host", "port"}}
        return urlunsplit(
            parts._replace(
                netloc=f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}",
                query=urlencode(query | {"sslmode": "disable"}),
            )
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(self.target)
        query = parse_qs(parts.query)
        host = query.get("host", [parts.hostname or "127.0.0.1"])[0]
        port = query.get("port", [str(parts.port or 5432)])[0]
        try:
            if host.startswith("/"):
                there = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
            else:
                there = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        ends = (writer, there[1])
        self._writers.update(ends)
        await asyncio.gather(
            self._pump("client", reader, there[1], ends), self._pump("server", there[0], writer, ends)
        )
        self._writers.difference_update(ends)

    async def _pump(
        self,
        side: Side,
        reader: asyncio.StreamReader,
        to: asyncio.StreamWriter,
        ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        tail = b""
        try:
            while data := await reader.read(_AT_ONCE):
                cut = self.cut
                strikes = cut is not None and cut.strikes(side, tail, data)
                if cut is None or not strikes or cut.arrives:
                    to.write(data)
                    await to.drain()
                if strikes:
                    break
                tail = data[-64:]
        except OSError:
            pass
        finally:
            for end in ends:
                end.close()  # what was written before still goes out
