"""A proxy between a client and PostgreSQL that cuts a connection at a chosen moment."""

from __future__ import annotations

import asyncio
from typing import Literal, Self
from urllib.parse import parse_qs, urlsplit, urlunsplit

import attrs

#: The server's answer to a COMMIT that was done: message type, length, tag.
COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"
#: What asyncpg sends to commit.
COMMIT = b"COMMIT;\x00"

Side = Literal["client", "server"]


@attrs.define
class Cut:
    """Cut the connection on which `pattern` passes for the `nth` time, once."""

    side: Side
    #: Bytes that one side sends; empty: whatever it sends.
    pattern: bytes
    nth: int = 1
    #: Whether what was sent still arrives.
    arrives: bool = True
    done: bool = False

    def strikes(self, side: Side, tail: bytes, data: bytes) -> bool:
        if self.done or side != self.side:
            return False
        # The pattern may have begun in what was sent before.
        before = tail[1 - len(self.pattern) :] if len(self.pattern) > 1 else b""
        self.nth -= (before + data).count(self.pattern) if self.pattern else 1
        self.done = self.nth <= 0
        return self.done


@attrs.define
class Proxy:
    """Listens on 127.0.0.1 for the time of `async with`."""

    target: str
    cut: Cut | None = None
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = attrs.field(factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    def dsn(self, dsn: str) -> str:
        """`dsn`, by way of this proxy."""
        parts = urlsplit(dsn)
        user = parts.netloc.rpartition("@")[0]
        port = self._server.sockets[0].getsockname()[1]
        return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}", query=""))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(self.target)
        query = parse_qs(parts.query)
        host = query.get("host", [parts.hostname])[0]
        port = query.get("port", [parts.port or 5432])[0]
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
        pumps = [
            asyncio.create_task(self._pump("client", reader, there[1], ends)),
            asyncio.create_task(self._pump("server", there[0], writer, ends)),
        ]
        await asyncio.gather(*pumps)
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
            while data := await reader.read(65536):
                strikes = self.cut is not None and self.cut.strikes(side, tail, data)
                if not strikes or self.cut.arrives:
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
