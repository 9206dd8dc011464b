"""The sink: outputs on their way to Kafka."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from framework.errors import OutputError
from framework.output import OutputRecord
from framework.runtime.patience import patiently

__all__ = ["KafkaSink", "Sink"]

_PATIENCE: Final = 30.0
"""Seconds to wait for the broker before the first output."""


class Sink(Protocol):
    """Takes outputs; each is done when its acknowledgement is."""

    async def send(self, records: Sequence[OutputRecord]) -> list[Awaitable[Any]]:
        """Hand over, waiting while too much is under way; gives an acknowledgement for each.

        The acknowledgements, and this, raise `OutputError`.
        """

    async def stop(self) -> None:
        """Let go of the connection. Raises nothing for outputs that are still under way."""


class KafkaSink:
    """A sink over aiokafka's idempotent producer, which connects when the first output comes."""

    def __init__(self, client: Mapping[str, Any]) -> None:
        self._client = dict(client)
        self._producer: AIOKafkaProducer | None = None

    async def send(self, records: Sequence[OutputRecord]) -> list[Awaitable[Any]]:
        producer = await self._started()
        return [await self._send(producer, record) for record in records]

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            try:
                self._producer = await patiently(self._connected, _PATIENCE, "no broker to send outputs to")
            except (KafkaError, OSError) as error:
                raise OutputError(f"cannot connect to send outputs: {error!r}") from error
        return self._producer

    async def _connected(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(acks="all", enable_idempotence=True, linger_ms=5, **self._client)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _send(self, producer: AIOKafkaProducer, record: OutputRecord) -> Awaitable[Any]:
        try:
            delivery = await producer.send(
                record.topic,
                record.value,
                key=record.key,
                partition=record.partition,
                timestamp_ms=record.timestamp,
                headers=list(record.headers),
            )
        except KafkaError as error:
            raise _output_error(record, error) from error
        return asyncio.ensure_future(_acknowledged(record, delivery))

    async def stop(self) -> None:
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None


async def _acknowledged(record: OutputRecord, delivery: Awaitable[Any]) -> None:
    try:
        await delivery
    except KafkaError as error:
        raise _output_error(record, error) from error


def _output_error(record: OutputRecord, error: KafkaError) -> OutputError:
    return OutputError(
        f"an output to topic {record.topic} was not taken: {error!r}; "
        "no checkpoint covers it, so a restart sends it again"
    )
