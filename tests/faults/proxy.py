"""A TCP proxy that cuts, delays and stalls the connections through it."""

import asyncio
import random
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Self

__all__ = ["Proxy"]

_CHUNK = 1 << 16
_SECONDS = 30.0


class Proxy:
    """Listens on a loopback port and hands bytes on to another, from a thread of its own.

    As a context manager it serves; set `target` before the first connection comes.
    """

    def __init__(self, seed: int = 0) -> None:
        self.target = 0
        """The port on loopback that it hands on to."""
        self.delay = 0.0
        """The longest time, in seconds, that a chunk is held back; each one's is random."""
        self.port = 0
        self.cuts = 0
        """Connections that were cut."""
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._connections: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._serve())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SECONDS)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)

    async def _serve(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._flowing.set()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await self._cut(1.0)
            await asyncio.wait(others, timeout=self.delay + 0.1)

    def cut(self, share: float = 1.0) -> None:
        """Reset this share of the connections, chosen at random."""
        self._run(self._cut(share))

    async def _cut(self, share: float) -> None:
        for connection in list(self._connections):
            if self._random.random() < share:
                self.cuts += 1
                for writer in connection:
                    writer.transport.abort()

    def stall(self) -> None:
        """Hand on nothing, in both directions, while connections stay open and new ones are taken."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def flow(self) -> None:
        """Hand on again, what was held back included."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._flowing.wait()
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        connection = writer, target_writer
        self._connections.add(connection)
        try:
            await asyncio.gather(self._pump(reader, target_writer), self._pump(target_reader, writer))
        finally:
            self._connections.discard(connection)
            for end in connection:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if self.delay:
                    await asyncio.sleep(self._random.uniform(0, self.delay))
                await self._flowing.wait()
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()
