"""Look-ups: single records by their offsets, through a consumer of their own."""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any, Final

import aiokafka
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import OffsetOutOfRangeError

from framework.records import Record, TopicPartition
from framework.runtime.ports import Place

__all__ = ["look_up"]

_FETCH_BYTES: Final = 131_072
"""Of each partition at a time; a larger batch comes whole all the same, but alone."""
_FETCH_SECONDS: Final = 0.2
_AT_ONCE: Final = 100


async def look_up(client: Mapping[str, Any], places: Collection[Place], patience: float) -> dict[Place, Record]:
    """The records at these places, keys and values as bytes, of those that the log still has.

    Raises aiokafka's `KafkaError`, and `TimeoutError` after `patience` seconds.
    """
    consumer = AIOKafkaConsumer(
        **{
            **client,
            "group_id": None,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
            "isolation_level": "read_uncommitted",
            "max_partition_fetch_bytes": _FETCH_BYTES,
        }
    )
    found: dict[Place, Record] = {}
    try:
        async with asyncio.timeout(patience):
            await consumer.start()
            for offsets in _rounds(places):
                await _look_up_round(consumer, offsets, found)
    finally:
        await consumer.stop()
    return found


def _rounds(places: Collection[Place]) -> Iterator[dict[aiokafka.TopicPartition, int]]:
    """One offset of each partition at a time, and not too many: aiokafka looks at all of them after each record."""
    left = set(places)
    while left:
        offsets = {aiokafka.TopicPartition(*partition): offset for partition, offset in islice(left, _AT_ONCE)}
        yield offsets
        left -= {(TopicPartition(*tp), offset) for tp, offset in offsets.items()}


async def _look_up_round(
    consumer: AIOKafkaConsumer, offsets: Mapping[aiokafka.TopicPartition, int], found: dict[Place, Record]
) -> None:
    consumer.assign(list(offsets))
    for tp, offset in offsets.items():
        consumer.seek(tp, offset)
    waiting = set(offsets)
    while waiting:
        try:
            row = await asyncio.wait_for(consumer.getone(), _FETCH_SECONDS)
        except OffsetOutOfRangeError as error:
            done = waiting.intersection(error.args[0])
        except TimeoutError:
            done = {tp for tp in waiting if await consumer.position(tp) > offsets[tp]}
        else:
            tp = aiokafka.TopicPartition(row.topic, row.partition)
            done = {tp}
            if tp in waiting and row.offset == offsets[tp]:
                found[TopicPartition(*tp), row.offset] = _record(row)
        consumer.pause(*done)
        waiting -= done


def _record(row: aiokafka.ConsumerRecord) -> Record:
    return Record(row.topic, row.partition, row.offset, row.timestamp, row.key, row.value, row.headers)
