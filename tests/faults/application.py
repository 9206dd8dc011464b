"""An application under test: traffic, workers that apply it, an oracle, and a log that is deleted behind the state.

What is stored is deleted from the log, so state that is thrown away cannot heal itself by reading everything again.
"""

import subprocess
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from framework.changes import fold_rows
from framework.cli.stores import open_store
from framework.codecs.json import JsonCodec
from framework.errors import StoreError
from framework.testing.brokers.traffic import create_topic, read_topic
from tests.end_to_end.worker import Worker
from tests.faults.oracle import Oracle
from tests.faults.traffic import Traffic

__all__ = ["SESSION_SECONDS", "Application"]

SESSION_SECONDS = 1.5
"""How long the group waits for a worker that says nothing; brokers of tests allow less than the usual 6."""

_SECONDS = 100.0
_DELETE_EVERY = 0.2
_RUNNING = """\
from framework import Processor


class Running(Processor):
    api_version = 1

    def process(self, record, state, out):
        state[record.key] = count = state.get(record.key, 0) + 1
        out.send("TARGET", count, key=record.key)
"""


class Application:
    """As a context manager it keeps traffic coming, and deletes what is stored; at the end its workers are killed."""

    def __init__(
        self,
        servers: str,
        directory: Path,
        *,
        store: str = "sqlite",
        partitions: int = 4,
        rate: int = 2000,
        seed: int = 0,
        checkpoint_interval: str = "20ms",
        plugin: str | None = None,
    ) -> None:
        """`plugin` is the code of one more, which counts as `keycount` does; it is called `extra`."""
        self.directory = directory
        self.group = f"group-{uuid.uuid4().hex[:12]}"
        self.topic = create_topic(servers, partitions)
        self.target = create_topic(servers, 2)
        self.oracle = Oracle(servers, self.topic)
        self.traffic = Traffic(servers, self.topic, keys=max(500, 4 * partitions), rate=rate, seed=seed)
        self.workers: list[Worker] = []
        self.prefix: Sequence[str] = ()
        """See `Worker`; for all that are started from now on."""
        self.assignments = 0
        """How many assignments workers that have ended had been given."""
        self.repeats = 0
        """Outputs that were sent more than once, known after `finish`."""
        self._servers = servers
        self._store = store
        self._deleting = threading.Event()
        self._thread = threading.Thread(target=self._delete, daemon=True)
        self._failure: BaseException | None = None
        self._stack = ExitStack()
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "running.py").write_text(_RUNNING.replace("TARGET", self.target))
        self._plugins = ["keycount", "running"]
        self.arguments = ["--plugin", "keycount", "--plugin", "running.py"]
        if plugin is not None:
            (directory / "extra.py").write_text(plugin)
            self._plugins.append("extra")
            self.arguments += ["--plugin", "extra.py"]
        self.arguments += [
            *("--topic", self.topic, "--group", self.group),
            *("--store", store, "--checkpoint-interval", checkpoint_interval, "--bootstrap-servers", servers),
            *("--kafka", f"session_timeout_ms={SESSION_SECONDS * 1000:.0f}", "--kafka", "heartbeat_interval_ms=300"),
        ]

    def __enter__(self) -> Self:
        self._stack.enter_context(self.oracle)
        self._stack.enter_context(self.traffic)
        self._thread.start()
        self._stack.callback(self._stop_deleting)
        return self

    def __exit__(self, *error: object) -> None:
        for worker in list(self.workers):
            self.kill(worker)
        self._stack.close()

    @property
    def all_partitions(self) -> str:
        """As a worker that has them all says it."""
        return ", ".join(f"{self.topic}-{number}" for number in self.oracle.partitions)

    # ---- workers

    def start(self, *arguments: object) -> Worker:
        """Start a worker."""
        worker = Worker(*self.arguments, *arguments, cwd=self.directory, prefix=self.prefix)
        self.workers.append(worker)
        return worker

    def kill(self, worker: Worker) -> None:
        """End it as a crash would."""
        worker.kill()
        self.forget(worker)

    def terminate(self, worker: Worker) -> None:
        """Ask it to stop, which it must do in peace."""
        assert worker.terminate() == 0, "\n".join(worker.messages)
        self.forget(worker)

    def forget(self, worker: Worker) -> None:
        """It has ended."""
        self.workers.remove(worker)
        self.assignments += sum("assigned: " in message for message in worker.messages)

    def check_workers(self) -> None:
        """No worker has ended by itself, and the log was deleted behind them."""
        if self._failure is not None:
            raise AssertionError("the log could not be deleted behind the state") from self._failure
        for worker in self.workers:
            assert worker.runs, "a worker ended by itself:\n" + self.story()

    def wait_for(self, count: int) -> None:
        """Wait until so many more records have come, and all up to there are applied and stored."""
        self.traffic.wait_for(count)
        self.oracle.wait_for(self.traffic.sent)
        wanted = self.oracle.last_offsets()
        deadline = time.monotonic() + _SECONDS
        while missing := self._missing(wanted):
            self.check_workers()
            assert time.monotonic() < deadline, f"the workers make no progress on {missing}:\n" + self.story()
            time.sleep(0.05 * len(wanted) ** 0.5)

    def _missing(self, wanted: Mapping[int, int]) -> str:
        """Some of the partitions that are not stored up to there."""
        missing = [number for number, offset in self.stored().items() if offset < wanted[number]]
        return ", ".join(map(str, missing[:10]))

    def story(self) -> str:
        """What the workers say."""
        return "\n\n".join("\n".join(line[:500] for line in worker.messages[-30:]) for worker in self.workers)

    # ---- what is stored

    def stored(self) -> dict[int, int]:
        """The last offset of each partition that every plugin has stored."""
        store = open_store(f"{self._store}:{self.directory / 'state'}", {})
        try:
            found = store.stored(self.group)
        except StoreError:  # a worker began to write while it was read
            found = store.stored(self.group)
        offsets = {(stored.unit.plugin, stored.unit.partition): stored.own_progress.last_offset for stored in found}
        return {
            number: min(offsets.get((name, number), -1) for name in self._plugins) for number in self.oracle.partitions
        }

    def _delete(self) -> None:
        try:
            pause = _DELETE_EVERY
            while not self._deleting.wait(pause):
                began = time.monotonic()
                self.oracle.delete(self.stored())
                pause = max(_DELETE_EVERY, 3 * (time.monotonic() - began))
        except BaseException as error:
            self._failure = error

    def _delete_behind_state(self) -> None:
        """Delete all records that are stored, so that the last worker cannot build a lost state again."""
        stored = self.stored()
        assert max(stored.values()) >= 0, "nothing was stored before the last worker"
        deadline = time.monotonic() + _SECONDS
        while not self.oracle.has_deleted(stored):
            assert time.monotonic() < deadline, "the broker does not delete the records behind the state"
            self.oracle.delete(stored)
            time.sleep(_DELETE_EVERY)

    def _stop_deleting(self) -> None:
        self._deleting.set()
        self._thread.join(_SECONDS)

    def check_stored(self) -> None:
        """What is stored is what one undisturbed run had made of the records up to there; no worker runs."""
        assert not self.workers
        self.check_workers()
        store = open_store(f"{self._store}:{self.directory / 'state'}", {})
        codec = JsonCodec()
        for stored in store.stored(self.group):
            state = fold_rows(codec, (row for _, row in store.load(stored.unit)))
            last_offset = stored.own_progress.last_offset
            self.oracle.wait_for_offset(stored.unit.partition, last_offset)
            expected = self.oracle.counts(stored.unit.partition, last_offset)
            assert state == expected, f"{stored.unit} differs up to offset {last_offset}"
            assert stored.keys == len(state)

    def finish(self) -> None:
        """Send no more, kill all workers, let another one apply the rest, and check state and outputs."""
        self.check_workers()
        for worker in list(self.workers):
            self.kill(worker)
        self.oracle.wait_for(self.traffic.stop())
        self._delete_behind_state()
        worker = self.start("--stop-at-end")
        try:
            assert worker.wait() == 0, self.story()
        except subprocess.TimeoutExpired as error:
            raise AssertionError("the last worker does not come to the end:\n" + self.story()) from error
        self.forget(worker)
        self._stop_deleting()
        self.check_stored()
        assert self.stored() == self.oracle.last_offsets(), "not all records are applied"
        self.check_outputs()

    def check_outputs(self) -> None:
        """Each record's output is there, and without repeats they are the model's; repeats are equal."""
        outputs: dict[tuple[int, int], tuple[str | None, int]] = {}
        for record in read_topic(self._servers, self.target):
            headers = {name: (value or b"").decode() for name, value in record.headers}
            place = int(headers["framework-source-partition"]), int(headers["framework-source-offset"])
            assert headers["framework-plugin"] == "running"
            assert headers["framework-source-topic"] == self.topic
            assert headers["framework-source-index"] == "0"
            output = None if record.key is None else record.key.decode(), int(record.value)
            self.repeats += place in outputs
            assert outputs.setdefault(place, output) == output, f"the outputs of {place} differ"
        expected = self.oracle.outputs()
        missing, wrong = (
            expected.keys() - outputs.keys(),
            {place for place in outputs if outputs[place] != expected[place]},
        )
        assert not missing, f"{len(missing)} outputs never came, such as that of {min(missing)}"
        assert not wrong, f"{len(wrong)} outputs are wrong, such as that of {min(wrong)}"
