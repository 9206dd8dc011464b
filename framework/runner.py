"""The runner: puts a run together from its settings, and sees it through."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from framework.borders import describe, is_plugin_failure
from framework.durations import duration_text
from framework.embedded.broker import EMBEDDED_SESSION_TIMEOUT_MS, EmbeddedBroker, PatientAssignor, is_embedded
from framework.embedded.feed import Feed
from framework.embedded.inputs import InputRecord
from framework.errors import ProcessingError, RecordsLostError, TopicNotFoundError, UsageError
from framework.event_time import EventTimeChoice
from framework.kafka.cluster import Cluster, connect, end_positions
from framework.kafka.settings import SESSION_TIMEOUT_MS
from framework.kafka.sink import KafkaSink
from framework.kafka.source import KafkaSource
from framework.options import parse_options
from framework.plugins import Plugins, ProcessorSpec
from framework.policy import ErrorPolicy, OnError, OnMissingState, OnOutOfRange, OnStall, Start
from framework.records import TopicPartition
from framework.runtime.allocator import keep_freed_memory
from framework.runtime.collector import quiet_collector
from framework.runtime.counts import Counts
from framework.runtime.declarations import state_definition
from framework.runtime.definition import Definition
from framework.runtime.event_times import TimeSettings
from framework.runtime.failure_log import FailureLog
from framework.runtime.figures import Figures, Summary, read_figures
from framework.runtime.formats import FormatChoice, Formats
from framework.runtime.io import IOThread
from framework.runtime.limits import Limits
from framework.runtime.loader import Loader
from framework.runtime.task import PartitionTask
from framework.runtime.watchdog import SHORTEST_TIMEOUT, Watchdog
from framework.runtime.worker import Worker
from framework.shutdown import Shutdown, crash
from framework.stores import Store

__all__ = ["RunSettings", "Runner"]

log = logging.getLogger("framework")

_HEARTBEAT_MS = 500
"""How soon a worker learns of a rebalance: partitions that move stand still for as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """All that a run is told. Durations are seconds."""

    plugins: Plugins
    topics: Sequence[str] | re.Pattern[str]
    """Names, or a pattern that the whole name of a topic matches; a pattern only on a broker that is named."""
    bootstrap_servers: str | None
    """None: the embedded broker, which is fed with `records`."""
    group: str
    store: str = "sqlite:state"
    """A store's name, a colon and its location."""
    store_options: Mapping[str, Any] = field(default_factory=dict)
    codec: str = "json"
    checkpoint_interval: float = 1.0
    start: Start = "earliest"
    on_out_of_range: OnOutOfRange = "stop"
    on_missing_state: OnMissingState = "stop"
    on_error: OnError = "stop"
    dead_letter_topic: str | None = None
    late_topic: str | None = None
    retries: int = 0
    retry_backoff: float = 0.1
    isolation_level: str = "read_committed"
    formats: FormatChoice = field(default_factory=FormatChoice)
    event_time: EventTimeChoice = field(default_factory=EventTimeChoice)
    options: Mapping[str, Any] = field(default_factory=dict)
    stop_at_end: bool = False
    stall_timeout: float = 60.0
    on_stall: OnStall = "warn"
    shutdown_timeout: float = 30.0
    consumer: Mapping[str, Any] = field(default_factory=dict)
    producer: Mapping[str, Any] = field(default_factory=dict)
    admin: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of aiokafka's clients: TLS, SASL and the like."""
    connect_timeout: float = 30.0
    records: Iterator[InputRecord] | None = None
    """What the embedded broker is fed with, into the first topic."""


class Runner:
    """One run: of some plugins, in one group, until it is stopped, at the end, or fails.

    Raises `UsageError` for settings that name what is not there.
    """

    def __init__(self, settings: RunSettings) -> None:
        self.settings = settings
        self._policy = _error_policy(settings)
        if isinstance(settings.topics, re.Pattern) and settings.bootstrap_servers is None:
            raise UsageError(
                "--topic-pattern needs a Kafka cluster, named by --bootstrap-servers; on the embedded broker, name "
                "each topic with --topic"
            )
        if settings.stall_timeout < SHORTEST_TIMEOUT:
            raise UsageError(
                f"a stall timeout of {settings.stall_timeout:g} s is so short that partitions without a problem "
                f"would be reported; give --stall-timeout {SHORTEST_TIMEOUT:g}s or more"
            )
        self._store_class = settings.plugins.store(settings.store.partition(":")[0])
        self._definitions = self._define()
        self.worker: Worker | None = None
        self._source: KafkaSource | None = None
        self._session_timeout_ms = SESSION_TIMEOUT_MS
        self._failure_log: FailureLog | None = None
        self._restored: tuple[int, int] | None = None
        self._run: asyncio.Task[None] | None = None
        self.stopped = False
        """Whether a signal ended it."""
        self.fed = 0
        """Records that went into the embedded broker."""
        self.summary: Summary | None = None
        """What was done, once `run` has ended, also by an error; None if it ended before the first record."""

    def guarantee(self) -> str:
        """The guarantee in force, in one line."""
        settings = self.settings
        where = _without_password(settings.store)
        if not self._store_class.survives:
            where = f"{self._store_class.name}, gone when this ends"
        return (
            f"state: exactly once · outputs: at least once · bad record: {self._policy} · "
            f"offset out of range: {settings.on_out_of_range} · missing state: {settings.on_missing_state} · "
            f"{self._time_guarantee()}store: {where}"
        )

    def _time_guarantee(self) -> str:
        """The part for event time; empty if no plugin uses it and no record is refused for its time."""
        topic, max_future = self.settings.late_topic, self.settings.event_time.max_future
        text = ""
        if any(definition.time.is_used for definition in self._definitions):
            text += f"late record: {'drop' if topic is None else f'send to {topic}'} · "
        for idle_after in sorted({each.time.idle_after or 0 for each in self._definitions if each.time.is_used} - {0}):
            text += f"event time of a partition without records for {duration_text(idle_after)}: by the clock · "
        if max_future is not None:
            text += f"time ahead of the machine's clock by more than {duration_text(max_future)}: bad record · "
        return text

    async def run(self) -> None:
        """Run to the end. Raises `FrameworkError`; SIGINT and SIGTERM end it without an error."""
        with Shutdown(self._stop, self._activity, timeout=self.settings.shutdown_timeout):
            self._run = asyncio.current_task()
            try:
                await self._run_all()
            except asyncio.CancelledError:
                if not self.stopped:
                    raise

    def _stop(self) -> None:
        log.info("stopping after a last checkpoint; a second signal stops the run at once")
        self.stopped = True
        if self.worker is not None:
            self.worker.stop()
        elif self._run is not None:
            self._run.cancel()

    def _activity(self) -> str:
        return "the broker" if self.worker is None else self.worker.activity

    async def _run_all(self) -> None:
        settings = self.settings
        async with AsyncExitStack() as watched, AsyncExitStack() as stack:
            servers = settings.bootstrap_servers
            began = asyncio.get_running_loop().time()
            if servers is None:
                servers = stack.enter_context(EmbeddedBroker()).bootstrap_servers
            cluster = await self._connect(servers)
            run_io = stack.enter_context(IOThread())
            store: Store = await run_io(settings.plugins.open_store, settings.store, settings.store_options)
            stack.push_async_callback(run_io, store.close)
            for definition in self._definitions:
                stack.push_async_callback(definition.formats.close)
                await definition.formats.open()
            self.worker, watchdog = await self._make_worker(servers, cluster, store, run_io)
            log.info(
                "broker: %s · topics: %s · group: %s",
                servers if settings.bootstrap_servers else f"embedded at {servers}, gone when this ends",
                ", ".join(f"{topic} ({count} partitions)" for topic, count in cluster.partitions.items()) or "none yet",
                settings.group,
            )
            log.info("%s", self.guarantee())
            if settings.records is not None:
                await stack.enter_async_context(self._feeding(servers, self.worker, cluster, settings.records))
            stack.callback(self._start_failure_log().close)
            await watched.enter_async_context(watchdog)  # until all is closed: a store may never answer
            keep_freed_memory()
            stack.enter_context(quiet_collector())
            try:
                await self.worker.run()
            except BaseException:
                # The store may be the cause, so it is not asked.
                self.summary = self._summary_since(began)
                raise
            finally:
                watchdog.expect_end()
            self.summary = await self._summarize(store, run_io, began)
        self._check_complete(self.worker)

    async def _connect(self, servers: str) -> Cluster:
        settings = self.settings
        client = {**settings.admin, "bootstrap_servers": servers}
        embedded = settings.bootstrap_servers is None
        cluster = await connect(client, settings.topics, settings.connect_timeout, creates_topics=embedded)
        if isinstance(settings.topics, re.Pattern) and not cluster.partitions:
            self._check_may_wait(settings.topics)
        for topic in filter(None, (settings.dead_letter_topic, settings.late_topic)):
            await connect(
                client,
                [topic],
                settings.connect_timeout,
                creates_topics=embedded,
                operation="WRITE",
            )
        return cluster

    def _check_may_wait(self, pattern: re.Pattern[str]) -> None:
        """No topic matches yet. A run that stops at the end would end at once."""
        if self.settings.stop_at_end:
            raise TopicNotFoundError(
                f"no topic matches '{pattern.pattern}', so there is nothing to read; check --topic-pattern, or create "
                "the topic first"
            )
        log.warning("no topic matches '%s' yet; waiting for one", pattern.pattern)

    async def _make_worker(
        self, servers: str, cluster: Cluster, store: Store, run_io: IOThread
    ) -> tuple[Worker, Watchdog]:
        settings = self.settings
        embedded = is_embedded(cluster.cluster_id)
        isolation_level = "read_uncommitted" if embedded else settings.isolation_level
        shares_embedded = embedded and settings.bootstrap_servers is not None
        session_timeout_ms = EMBEDDED_SESSION_TIMEOUT_MS if shares_embedded else SESSION_TIMEOUT_MS
        consumer = {"session_timeout_ms": session_timeout_ms, **settings.consumer, "bootstrap_servers": servers}
        self._session_timeout_ms = consumer["session_timeout_ms"]
        consumer.setdefault("heartbeat_interval_ms", min(_HEARTBEAT_MS, consumer["session_timeout_ms"] // 3))
        consumer.setdefault("rebalance_timeout_ms", max(60_000, consumer["session_timeout_ms"]))
        self._source = source = KafkaSource(
            settings.topics,
            settings.group,
            consumer,
            isolation_level=isolation_level,
            assignor=PatientAssignor if embedded else None,
        )
        loader = Loader(
            source,
            store,
            run_io,
            settings.start,
            settings.on_out_of_range,
            settings.on_missing_state,
            embedded,
            settings.plugins.observers,
            self._on_restored,
        )
        worker = Worker(
            group=settings.group,
            cluster_id=cluster.cluster_id,
            definitions=self._definitions,
            source=source,
            sink=KafkaSink({**settings.producer, "bootstrap_servers": servers}, settings.connect_timeout),
            store=store,
            loader=loader,
            run_io=run_io,
            observers=settings.plugins.observers,
            checkpoint_interval=settings.checkpoint_interval,
            fenced_patience=2 * consumer["session_timeout_ms"] / 1000,
            limits=Limits(revoke_seconds=settings.shutdown_timeout),
            give_up=crash,
        )
        if settings.stop_at_end and settings.records is None:
            worker.stop_when(
                await end_positions(consumer, cluster.topic_partitions, isolation_level, settings.connect_timeout)
            )
        return worker, Watchdog(worker, source, loader, timeout=settings.stall_timeout, on_stall=settings.on_stall)

    def _define(self) -> list[Definition]:
        settings = self.settings
        specs = settings.plugins.processors
        options = parse_options(specs, settings.options)
        return [self._definition(spec, options[spec.name]) for spec in specs]

    def _definition(self, spec: ProcessorSpec, options: Any) -> Definition:
        settings = self.settings
        formats = Formats.of(spec.cls, options, settings.formats, settings.plugins.format)
        return Definition(
            name=spec.name,
            processor=spec.cls,
            options=options,
            codec=settings.plugins.codec(settings.codec)(),
            formats=formats,
            time=TimeSettings.of(spec.cls, options, settings.event_time, formats.value, time.time),
            on_error=self._policy,
            on_records_late=self._on_records_late,
            state_definition=state_definition(spec.cls, options),
            keeps_rows=self._store_class.keeps_rows,
            on_records_failed=self._on_records_failed,
        )

    # ---- how it goes

    def figures(self) -> Figures | None:
        """How far it is; None while it connects. Call it in the run's event loop."""
        if self.worker is None or self._source is None:
            return None
        return read_figures(
            self.worker.assignment,
            self.worker.saver,
            self._source.log_ends,
            loaded=self._restored,
            session_timeout=self._session_timeout_ms / 1000,
        )

    def _on_restored(self, done: int, total: int) -> None:
        self._restored = (done, total) if done < total else None

    def _summary_since(self, began: float) -> Summary:
        """The summary without the figures that the store has."""
        counts = self.worker.assignment.counts if self.worker is not None else Counts()
        seconds = asyncio.get_running_loop().time() - began
        return Summary(counts.applied, counts.failed, seconds, None, None, counts.late, counts.failed_timers)

    async def _summarize(self, store: Store, run_io: IOThread, began: float) -> Summary:
        summary = self._summary_since(began)
        units = {task.unit for task in self.tasks}
        if not units:  # a stop in the middle of a rebalance
            return summary
        try:
            stored = [each for each in await run_io(store.stored, self.settings.group) if each.unit in units]
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            log.warning("the store could not be asked how much it holds: %s", describe(error))
            return summary
        return replace(summary, keys=sum(each.keys for each in stored), bytes=sum(each.bytes for each in stored))

    def _start_failure_log(self) -> FailureLog:
        topic = self._policy.dead_letter_topic
        outcome = f"sent to {topic}" if topic else "skipped"
        self._failure_log = FailureLog(outcome, asyncio.get_running_loop().call_later)
        return self._failure_log

    def _on_records_failed(self, plugin: str, partition: TopicPartition, errors: Mapping[int, ProcessingError]) -> None:
        if self._policy.on_error != "stop" and self._failure_log is not None:
            self._failure_log.add(partition, errors)
        self.settings.plugins.observers.records_failed(
            plugin=plugin, partition=partition, errors=errors, on_error=self._policy.on_error
        )

    def _on_records_late(self, plugin: str, partition: TopicPartition, offsets: Sequence[int]) -> None:
        self.settings.plugins.observers.records_late(plugin=plugin, partition=partition, offsets=offsets)

    # ---- the embedded broker's feed

    @asynccontextmanager
    async def _feeding(
        self, servers: str, worker: Worker, cluster: Cluster, records: Iterator[InputRecord]
    ) -> AsyncIterator[None]:
        feed = self._make_feed(servers, worker, next(iter(cluster.partitions)))
        feeding = asyncio.create_task(self._feed(feed, worker, records))
        try:
            yield
        finally:
            feeding.cancel()
            with suppress(asyncio.CancelledError):
                await feeding

    def _make_feed(self, servers: str, worker: Worker, topic: str) -> Feed:
        """What feeds the embedded broker no faster than the worker applies."""

        async def applied() -> dict[TopicPartition, int]:
            return worker.assignment.positions()

        client = {**self.settings.producer, "bootstrap_servers": servers}
        return Feed(topic, client, embedded=True, applied=applied)

    async def _feed(self, feed: Feed, worker: Worker, records: Iterator[InputRecord]) -> None:
        """Feed the embedded broker; then, if asked for, let the worker stop at the end."""
        try:
            await feed.run(records, self._on_fed)
        except Exception as error:
            worker.on_source_failed(error)
            return
        if self.settings.stop_at_end:
            worker.stop_when(feed.sent)

    def _on_fed(self, count: int) -> None:
        self.fed = count

    def _check_complete(self, worker: Worker) -> None:
        """What was applied here must be what was fed: the embedded broker drops records without a word."""
        if self.settings.records is None or not self.settings.stop_at_end or self.stopped:
            return
        for definition in {task.definition.name for task in worker.tasks}:
            applied = sum(sum(task.counts) for task in worker.tasks if task.definition.name == definition)
            if applied != self.fed:
                raise RecordsLostError(
                    f"plugin {definition} got {applied} of {self.fed} records: the embedded broker dropped the others; "
                    "the result is not complete"
                )

    @property
    def store_survives(self) -> bool:
        """Whether the state outlives this process."""
        return self._store_class.survives

    @property
    def tasks(self) -> list[PartitionTask]:
        """The tasks of the assigned partitions; after `run`, with the states that it ended with."""
        return self.worker.tasks if self.worker is not None else []


def _error_policy(settings: RunSettings) -> ErrorPolicy:
    policy = ErrorPolicy(
        settings.on_error,
        settings.dead_letter_topic,
        settings.retries,
        settings.retry_backoff,
        settings.late_topic,
    )
    if policy.dead_letter_topic is not None and _is_read(policy.dead_letter_topic, settings.topics):
        raise UsageError(
            f"dead letters cannot go to {policy.dead_letter_topic}, which this run reads: they would fail again "
            "without end; name another --dead-letter-topic"
        )
    if policy.late_topic is not None and _is_read(policy.late_topic, settings.topics):
        raise UsageError(
            f"late records cannot go to {policy.late_topic}, which this run reads: they would be late again without "
            "end; name another --late-topic"
        )
    return policy


def _is_read(topic: str, topics: Sequence[str] | re.Pattern[str]) -> bool:
    return topics.fullmatch(topic) is not None if isinstance(topics, re.Pattern) else topic in topics


def _without_password(location: str) -> str:
    """The location as messages show it."""
    scheme, separator, rest = location.partition("://")
    userinfo, at, host = rest.rpartition("@")  # a password may have any character, unquoted, too
    user, colon, _ = userinfo.partition(":")
    return f"{scheme}{separator}{user}{':***' if colon else ''}{at}{host}"
