"""All that touches aiokafka's internals; everything else uses what it documents.

`ConsumerRecord`s cost more than all else, so `deliver_runs` has `getmany` deliver runs instead: `Columns`, one for all
that a fetch brought of a partition, over the objects of aiokafka's decoder, or through the accelerator over the bytes
themselves. All around that (positions, pauses, assignments, errors) stays aiokafka's. What this relies on is tried
once, in memory, before it is used; where it does not hold, `getmany` is used as documented.
"""

import asyncio
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, Final, Protocol

import aiokafka
from aiokafka import AIOKafkaConsumer
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import OffsetAndMetadata

from framework.kafka.columns import Columns, DecodedColumns

__all__ = [
    "Speedups",
    "client_of",
    "committed_offsets",
    "deliver_runs",
    "ended_tasks",
    "position_of",
    "retrieve_commit_errors",
    "runs_missing",
]

Runs = Iterator[Columns]


class Speedups(Protocol):
    """What is used of the accelerator. Raises `ValueError` where bytes are damaged."""

    def batches(self, data: bytes, /) -> Iterable[Any]:
        """The whole batches of message format v2 with which `data` begins."""

    def Columns(  # noqa: N802 - a class
        self, batches: Iterable[Any], position: int, decompress: Callable[[int, bytes], bytes]
    ) -> Columns:
        """The records of these batches from offset `position` on."""


_CODECS: Final[dict[int, Callable[[bytes], bytes]]] = {1: gzip_decode, 2: snappy_decode, 3: lz4_decode, 4: zstd_decode}
_MAGIC: Final = slice(16, 17)
_NEWEST_MAGIC: Final = b"\x02"
_PARTITION: Final = aiokafka.TopicPartition("trial", 0)
_offset_of: Final = attrgetter("offset")


def position_of(consumer: AIOKafkaConsumer, tp: aiokafka.TopicPartition) -> int:
    """The position, without the round trip that the public coroutine makes where there is none."""
    return int(consumer._subscription.subscription.assignment.state_value(tp).position)


def client_of(consumer: AIOKafkaConsumer) -> Any:
    """The client, for requests that the consumer does not offer."""
    return consumer._client


async def committed_offsets(
    consumer: AIOKafkaConsumer, tps: Sequence[aiokafka.TopicPartition]
) -> dict[aiokafka.TopicPartition, OffsetAndMetadata]:
    """What the group has committed, with the metadata, which the public coroutine leaves out."""
    found: dict[aiokafka.TopicPartition, OffsetAndMetadata] = await consumer._coordinator.fetch_committed_offsets(tps)
    return found


def retrieve_commit_errors(consumer: AIOKafkaConsumer) -> None:
    """From now on, a commit that fails after its caller was cancelled is not reported by asyncio.

    aiokafka sends a commit in a task that goes on after a cancellation, and nobody retrieves the error of that task, so
    asyncio logs "Task exception was never retrieved". aiokafka has logged the error itself by then.
    """
    coordinator = consumer._coordinator
    send = coordinator._do_commit_offsets

    def send_in_task(assignment: Any, offsets: Any) -> "asyncio.Task[None]":
        sending = asyncio.create_task(send(assignment, offsets))
        sending.add_done_callback(lambda done: done.cancelled() or done.exception())
        return sending

    coordinator._do_commit_offsets = send_in_task


def ended_tasks(consumer: AIOKafkaConsumer) -> dict[str, BaseException | None]:
    """Which of the tasks that a consumer lives by have ended, and of what; without them it looks idle for ever."""
    tasks = {
        "fetching": consumer._fetcher._fetch_task,
        "group membership": consumer._coordinator._coordination_task,
        "view of the cluster": consumer._client._sync_task,
    }
    ended = {name: task for name, task in tasks.items() if task is not None and task.done()}
    return {name: None if task.cancelled() else task.exception() for name, task in ended.items()}


def deliver_runs(consumer: AIOKafkaConsumer, speedups: Speedups | None = None) -> None:
    """From now on, `getmany` of this consumer gives runs, at most one a partition: `Columns`, in a list.

    The consumer is started, and has no partitions yet. `speedups`: the accelerator, if it is to be used.
    """
    fetcher = consumer._fetcher
    runs_of = _decoded_runs
    if speedups is not None:
        fetcher._client = client = _Client(fetcher._client, speedups)
        runs_of = client.runs_of
    fetcher._records = _Results(runs_of)


def runs_missing(speedups: Speedups | None = None) -> str | None:
    """Why this version of aiokafka cannot deliver runs, through the accelerator if it is given; None if it can."""
    try:
        columns = [fact for run in _tried(speedups, runs=True) for fact in _facts_of_columns(run)]
        records = [_facts(record) for record in _tried(speedups, runs=False)]
    except Exception as error:
        return repr(error)
    return None if columns == records and len(columns) == 2 else f"it gives {columns} for {records}"


class _Results(OrderedDict[aiokafka.TopicPartition, Any]):
    """The fetcher's results, each of which gives runs in place of records."""

    def __init__(self, runs_of: Callable[[PartitionRecords], Runs]) -> None:
        super().__init__()
        self._runs_of = runs_of

    def __setitem__(self, tp: aiokafka.TopicPartition, result: Any) -> None:
        if type(result) is FetchResult:
            records = result._partition_records
            records._records_iterator = self._runs_of(records)
        super().__setitem__(tp, result)


class _Client:
    """A fetcher's client that keeps the bytes of the last fetch: the fetcher makes its results of them at once."""

    def __init__(self, client: Any, speedups: Speedups) -> None:
        self._client = client
        self._speedups = speedups
        self._fetched: dict[aiokafka.TopicPartition, bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node_id: int, request: Any, **options: Any) -> Any:
        response = await self._client.send(node_id, request, **options)
        if isinstance(request, FetchRequest):
            self.keep(response)
        return response

    def keep(self, response: Any) -> None:
        self._fetched = {
            aiokafka.TopicPartition(topic, partition): data
            for topic, partitions in response.topics
            for partition, *_, data in partitions
        }

    def runs_of(self, records: PartitionRecords) -> Runs:
        data = self._fetched.pop(records._tp, b"")
        if data[_MAGIC] != _NEWEST_MAGIC:
            return _decoded_runs(records)
        columns = partial(self._speedups.Columns, decompress=_decompress)
        return _runs(records, _batches(data, self._speedups), columns)


def _decoded_runs(records: PartitionRecords) -> Runs:
    return _runs(records, iter(records._records.next_batch, None), _decoded)


def _decoded(batches: Iterable[Any], position: int) -> Columns:
    columns = list(chain.from_iterable(batches))
    first = bisect_left(columns, position, key=_offset_of)  # the position may be in the middle of a batch
    return DecodedColumns(columns[first:] if first else columns)


def _batches(data: bytes, speedups: Speedups) -> Iterator[Any]:
    """The batches of a fetch; control batches are left to aiokafka, which knows what is in them."""
    for batch in speedups.batches(data):
        yield MemoryRecords(batch.data).next_batch() if batch.is_control_batch else batch


def _decompress(codec: int, data: bytes) -> bytes:
    if codec not in _CODECS:
        raise UnsupportedCodecError(f"records are compressed with codec {codec}, which is not known here")
    try:
        return _CODECS[codec](data)
    except Exception as error:
        raise ValueError(f"compressed records are damaged: {error!r}") from error


def _runs(
    records: PartitionRecords, batches: Iterator[Any], columns_of: Callable[[Sequence[Any], int], Columns]
) -> Runs:
    """What `PartitionRecords` iterates over otherwise, all at once."""
    position = records.next_fetch_offset
    try:
        columns = columns_of(list(_visible(records, batches)), position)
    except ValueError as error:
        raise CorruptRecordException(f"{records._tp}: {error}") from error
    if columns:
        yield columns


def _visible(records: PartitionRecords, batches: Iterator[Any]) -> Iterator[Any]:
    """The batches whose records a reader gets: no control batches, and no aborted ones where these are not read."""
    for batch in batches:
        if records._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"Invalid CRC - {records._tp}")
        if not _is_aborted(records, batch) and not batch.is_control_batch:
            yield batch
        records.next_fetch_offset = batch.next_offset


def _is_aborted(records: PartitionRecords, batch: Any) -> bool:
    """Whether readers of committed records must not see it; follows the transactions up to this batch."""
    if records._isolation_level != READ_COMMITTED or batch.producer_id is None:
        return False
    records._consume_aborted_up_to(batch.base_offset)
    if batch.is_control_batch and records._contains_abort_marker(batch):
        records._aborted_producers.discard(batch.producer_id)
    return bool(batch.is_transactional and batch.producer_id in records._aborted_producers)


def _tried(speedups: Speedups | None, *, runs: bool) -> Any:
    """What a consumer at offset 1 gets of a batch of three records."""
    data = _three_records()
    runs_of = _decoded_runs
    if speedups is not None:
        client = _Client(None, speedups)
        client.keep(SimpleNamespace(topics=[(_PARTITION.topic, [(_PARTITION.partition, 0, 3, data)])]))
        runs_of = client.runs_of
    records = PartitionRecords(_PARTITION, MemoryRecords(data), [], 1, None, None, True, READ_COMMITTED)
    state = SimpleNamespace(paused=False, position=1)
    state.consumed_to = lambda position: setattr(state, "position", position)
    assignment = SimpleNamespace(active=True, state_value=lambda tp: state)
    results = _Results(runs_of) if runs else {}
    results[_PARTITION] = FetchResult(_PARTITION, assignment=assignment, partition_records=records, backoff=0)
    found = results[_PARTITION].getall()
    if state.position != 3 or results[_PARTITION].has_more():
        raise RuntimeError(f"it reads on from {state.position}, not 3")
    return found


def _three_records() -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=1000,
    )  # fmt: skip
    for offset in range(3):
        builder.append(offset, timestamp=offset, key=None, value=b"value", headers=[("name", b"value")])
    return bytes(builder.build())


def _facts(record: Any) -> tuple[Any, ...]:
    return record.offset, record.timestamp, record.key, record.value, tuple(record.headers)


def _facts_of_columns(columns: Columns) -> Iterator[tuple[Any, ...]]:
    return zip(
        columns.offsets(), columns.timestamps(), columns.keys(), columns.values(), columns.headers(), strict=True
    )
