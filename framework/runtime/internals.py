"""All that touches aiokafka's internals; everything else uses what it documents.

`ConsumerRecord`s cost more than all else, so `deliver_runs` has `getmany` deliver the decoder's own objects instead, a
whole record batch at a time. All around that (positions, pauses, assignments, errors) stays aiokafka's. What this
relies on is tried once, in memory, before it is used; where it does not hold, `getmany` is used as documented.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, Final

import aiokafka
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

__all__ = ["client_of", "deliver_runs", "ended_tasks", "position_of", "runs_missing"]

_PARTITION: Final = aiokafka.TopicPartition("trial", 0)
_offset_of: Final = attrgetter("offset")


def position_of(consumer: AIOKafkaConsumer, tp: aiokafka.TopicPartition) -> int:
    """The position, without the round trip that the public coroutine makes where there is none."""
    return int(consumer._subscription.subscription.assignment.state_value(tp).position)


def client_of(consumer: AIOKafkaConsumer) -> Any:
    """The client, for requests that the consumer does not offer."""
    return consumer._client


def ended_tasks(consumer: AIOKafkaConsumer) -> dict[str, BaseException | None]:
    """Which of the tasks that a consumer lives by have ended, and of what; without them it looks idle for ever."""
    tasks = {
        "fetching": consumer._fetcher._fetch_task,
        "group membership": consumer._coordinator._coordination_task,
        "view of the cluster": consumer._client._sync_task,
    }
    ended = {name: task for name, task in tasks.items() if task is not None and task.done()}
    return {name: None if task.cancelled() else task.exception() for name, task in ended.items()}


def deliver_runs(consumer: AIOKafkaConsumer) -> None:
    """From now on, `getmany` of this started consumer gives runs: a list of records for each record batch.

    They have the attributes `offset`, `timestamp`, `key`, `value` and `headers`, as a `ConsumerRecord` has.
    """
    consumer._fetcher._records = _Results(consumer._fetcher._records)


def runs_missing() -> str | None:
    """Why this version of aiokafka cannot deliver runs; None if it can."""
    try:
        rows = [_facts(row) for row in chain.from_iterable(_tried(runs=True))]
        records = [_facts(record) for record in _tried(runs=False)]
    except Exception as error:
        return repr(error)
    return None if rows == records and len(rows) == 2 else f"it gives {rows} for {records}"


class _Results(OrderedDict[aiokafka.TopicPartition, Any]):
    """The fetcher's results, each of which gives runs in place of records."""

    def __setitem__(self, tp: aiokafka.TopicPartition, result: Any) -> None:
        if type(result) is FetchResult:
            records = result._partition_records
            records._records_iterator = _runs(records)
        super().__setitem__(tp, result)


def _runs(records: PartitionRecords) -> Iterator[Sequence[Any]]:
    """What `PartitionRecords` iterates over otherwise, a batch at a time: without control batches and aborted ones."""
    batches = records._records
    while batches.has_next():
        batch = batches.next_batch()
        if records._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"Invalid CRC - {records._tp}")
        if _is_aborted(records, batch) or batch.is_control_batch:
            records.next_fetch_offset = batch.next_offset
            continue
        rows = list(batch)
        if rows and rows[0].offset < records.next_fetch_offset:  # the position is in the middle of the batch
            rows = rows[bisect_left(rows, records.next_fetch_offset, key=_offset_of) :]
        records.next_fetch_offset = batch.next_offset
        if rows:
            yield rows


def _is_aborted(records: PartitionRecords, batch: Any) -> bool:
    """Whether readers of committed records must not see it; follows the transactions up to this batch."""
    if records._isolation_level != READ_COMMITTED or batch.producer_id is None:
        return False
    records._consume_aborted_up_to(batch.base_offset)
    if batch.is_control_batch and records._contains_abort_marker(batch):
        records._aborted_producers.discard(batch.producer_id)
    return bool(batch.is_transactional and batch.producer_id in records._aborted_producers)


def _tried(*, runs: bool) -> Any:
    """What a consumer at offset 1 gets of a batch of three records."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=1000,
    )  # fmt: skip
    for offset in range(3):
        builder.append(offset, timestamp=offset, key=None, value=b"value", headers=[("name", b"value")])
    records = PartitionRecords(
        _PARTITION, MemoryRecords(bytes(builder.build())), [], 1, None, None, True, READ_COMMITTED
    )
    state = SimpleNamespace(paused=False, position=1)
    state.consumed_to = lambda position: setattr(state, "position", position)
    assignment = SimpleNamespace(active=True, state_value=lambda tp: state)
    results = _Results() if runs else {}
    results[_PARTITION] = FetchResult(_PARTITION, assignment=assignment, partition_records=records, backoff=0)
    found = results[_PARTITION].getall()
    if state.position != 3 or results[_PARTITION].has_more():
        raise RuntimeError(f"it reads on from {state.position}, not 3")
    return found


def _facts(row: Any) -> tuple[Any, ...]:
    return row.offset, row.timestamp, row.key, row.value, tuple(row.headers)
