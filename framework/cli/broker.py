"""`framework broker`: the embedded broker alone, for trying things out with several processes."""

import asyncio
import errno
import signal
from contextlib import suppress

import click

from framework.cli.options import Command, framework_option
from framework.embedded.broker import KEPT_BYTES, PARTITIONS, EmbeddedBroker
from framework.errors import UsageError

__all__ = ["broker"]

_HOST = "127.0.0.1"
_CHUNK_BYTES = 64 * 1024


@click.command(cls=Command)
@framework_option("--port", type=click.IntRange(1, 65535), help="Port to listen on. The default is any free port.")
def broker(port: int | None) -> None:
    """Run the embedded broker until Ctrl-C, and print its address.

    The broker is for trials: it keeps about the last 5 MB of each partition, in memory.

    \b
    Example, with the second command in another terminal:
      framework broker --port 9092
      framework produce clicks.csv --topic clicks --key user \\
        --bootstrap-servers 127.0.0.1:9092
    """
    asyncio.run(_serve(port))


async def _serve(port: int | None) -> None:
    stop = asyncio.Event()
    for kind in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(kind, stop.set)
    with EmbeddedBroker() as embedded:
        if port is None:
            await _announce_until(stop, embedded.bootstrap_servers)
        else:
            async with await _forwarder(port, embedded.bootstrap_servers) as server:
                await _announce_until(stop, f"{_HOST}:{port}")
                server.close()


async def _announce_until(stop: asyncio.Event, address: str) -> None:
    click.echo(
        f"embedded broker, for trials: in memory, {PARTITIONS} partitions a topic, about the last "
        f"{KEPT_BYTES // 1_000_000} MB of each; what is older is dropped, read or not\n"
        f"use it with: export KAFKA_BOOTSTRAP_SERVERS={address}",
        err=True,
    )
    click.echo(address)
    await stop.wait()


async def _forwarder(port: int, target: str) -> asyncio.Server:
    """Listen at `port` for clients, which then learn from the metadata where the broker itself listens."""
    host, _, target_port = target.rpartition(":")

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # so connections end
            broker_reader, broker_writer = await asyncio.open_connection(host, int(target_port))
            await asyncio.gather(_copy(reader, broker_writer), _copy(broker_reader, writer))

    try:
        return await asyncio.start_server(forward, _HOST, port)
    except OSError as error:
        reason = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise UsageError(f"cannot listen at port {port}: {reason}; choose another --port, or leave it out") from error


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
