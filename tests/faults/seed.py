"""The kill test, run on aiokafka's example "local state and storing offsets outside of Kafka".

python -m tests.faults.seed [--example FILE] [--kills 20]

The example is no part of this repository; FILE is a page that has its code, as in aiokafka's documentation.
"""

import json
import random
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import click

from framework.testing.brokers import KafkaJars
from framework.testing.brokers.traffic import create_topic
from tests.faults.aim import wait_for_write
from tests.faults.application import SESSION_SECONDS
from tests.faults.oracle import Oracle
from tests.faults.traffic import Traffic

__all__ = ["PAGE", "Damage", "adapted", "code_of", "damage"]

PAGE = Path(__file__).parents[3] / "shared" / "seed.rst"

_DELETE_EVERY = 0.2
_SECONDS = 120.0
_START = ".. code:: python\n"


def code_of(page: Path) -> str:
    """The example's code: the first block of Python of a page."""
    block = page.read_text().partition(_START)[2].strip("\n").splitlines()
    length = next(number for number, line in enumerate(block) if line and not line.startswith(" "))
    return textwrap.dedent("\n".join(block[:length]))


def adapted(code: str, changes: dict[str, str]) -> str:
    """The code with each of these strings, which must be there, replaced."""
    for old, new in changes.items():
        if old not in code:
            raise ValueError(f"this is not the example as it is known: {old!r} is missing")
        code = code.replace(old, new)
    return code


def _file_changes(directory: Path) -> dict[str, str]:
    return {"/tmp/my-partition-state": str(directory / "my-partition-state")}  # noqa: S108 - what the example has


@dataclass
class Damage:
    """What the example makes of a damaged file."""

    refused: int = 0
    unchanged: int = 0
    silently_wrong: int = 0

    @property
    def tried(self) -> int:
        return self.refused + self.unchanged + self.silently_wrong


def damage(code: str, directory: Path) -> Damage:
    """Flip every bit, and cut at every length, of a small state file, and let the example load each."""
    names: dict[str, Any] = {"__name__": "example"}
    exec(adapted(code, _file_changes(directory)), names)  # noqa: S102 - the example's own code
    counts = {"123123": 1, "4444": 1, "321": 2, "5555": 1}
    path = directory / "my-partition-state-test-0.json"
    whole = json.dumps({"last_offset": 4, "counts": counts}).encode()
    partition = names["AIOKafkaConsumer"].__init__.__globals__["TopicPartition"]("test", 0)
    result = Damage()
    for data in _damaged(whole):
        path.write_bytes(data)
        state = names["LocalState"]()
        try:
            state.load_local_state([partition])
        except Exception:
            result.refused += 1
            continue
        if (state.get_last_offset(partition), dict(state._counts[partition])) == (4, counts):
            result.unchanged += 1
        else:
            result.silently_wrong += 1
    return result


def _damaged(whole: bytes) -> Iterator[bytes]:
    for place in range(len(whole)):
        yield whole[:place]
        for bit in range(8):
            yield whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]


class Example:
    """The example under test: one process at a time, traffic, an oracle, and a log that is deleted behind its files."""

    def __init__(self, servers: str, code: str, directory: Path, seed: int) -> None:
        self.topic = create_topic(servers, 4)
        self.oracle = Oracle(servers, self.topic)
        self.traffic = Traffic(servers, self.topic, rate=3000, seed=seed)
        self.process: subprocess.Popen[bytes] | None = None
        self.failures = 0
        """How often it ended by itself."""
        self._directory = directory
        self.log = directory / "example.log"
        self._program = directory / "example.py"
        self._files = directory / "files"
        self._files.mkdir()
        self._stack = ExitStack()
        self._deleting = threading.Event()
        self._thread = threading.Thread(target=self._delete, daemon=True)
        session = f"session_timeout_ms={SESSION_SECONDS * 1000:.0f}, heartbeat_interval_ms=300,"
        self._program.write_text(
            adapted(
                code,
                {
                    **_file_changes(self._files),
                    "'localhost:9092'": repr(servers),
                    '["test"]': repr([self.topic]),
                    # With "none" it ends at its first assignment, with aiokafka's NoOffsetForPartitionError.
                    'auto_offset_reset="none"': 'auto_offset_reset="earliest"',
                    "enable_auto_commit=False,": f"enable_auto_commit=False, {session}",
                    'print("Process", tp, msg.key)': "pass",
                },
            )
        )

    def __enter__(self) -> Self:
        self._stack.enter_context(self.oracle)
        self._stack.enter_context(self.traffic)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.stop_deleting()
        self._stack.close()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, self._program], stdout=log, stderr=log)

    def keep_up(self) -> None:
        """Start it again if it has ended by itself, as whoever runs it would."""
        if self.process is None or self.process.poll() is not None:
            self.failures += self.process is not None
            self.start()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Keep it up until the condition holds."""
        deadline = time.monotonic() + _SECONDS
        while not condition():
            self.keep_up()
            if time.monotonic() > deadline:
                raise TimeoutError("the example makes no progress; it says:\n" + self.log.read_text()[-2000:])
            time.sleep(0.05)

    def wait_for_progress(self) -> None:
        """Wait until some of the records that come from now on are in its files."""
        sent = self.traffic.sent
        self.wait_until(lambda: sum(self.last_offsets().values()) > sent)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stored(self) -> dict[int, dict[str, Any]]:
        """What its files hold, by partition; without those that cannot be read."""
        found = {}
        for number in self.oracle.partitions:
            try:
                document = json.loads((self._files / f"my-partition-state-{self.topic}-{number}.json").read_text())
            except (FileNotFoundError, ValueError):
                continue
            found[number] = document
        return found

    def last_offsets(self) -> dict[int, int]:
        return {number: document["last_offset"] for number, document in self.stored().items()}

    def broken_files(self) -> int:
        return len(list(self._files.iterdir())) - len(self.stored())

    def wait_for_write(self) -> bool:
        return wait_for_write(self._files)

    def _delete(self) -> None:
        while not self._deleting.wait(_DELETE_EVERY):
            self.oracle.delete(self.last_offsets())

    def stop_deleting(self) -> None:
        self._deleting.set()
        self._thread.join(_SECONDS)

    def finish(self) -> Counter[str]:
        """Send no more, wait until its files are at the end, and compare their counts with the topic's."""
        self.oracle.wait_for(self.traffic.stop())
        self.wait_until(lambda: self.last_offsets() == self.oracle.last_offsets())
        time.sleep(2)  # the last of its writes, one a second
        self.kill()
        result: Counter[str] = Counter()
        for number, document in self.stored().items():
            # The example takes a record without key for one with an empty key.
            truth = Counter(key or "" for key in self.oracle.keys(number))
            counts = Counter(document["counts"])
            result["lost"] += (truth - counts).total()
            result["twice"] += (counts - truth).total()
        return result


def run(kafka: KafkaJars, code: str, directory: Path, kills: int, *, aimed: bool, seed: int) -> str:
    """Kill it so many times, at its writes or at random, and tell what that did."""
    chance, broken = random.Random(seed), 0
    with Example(kafka.bootstrap_servers, code, directory, seed) as example:
        for _ in range(kills):
            example.wait_for_progress()
            time.sleep(chance.uniform(0, 1))
            if aimed:
                example.wait_for_write()
            example.kill()
            broken += example.broken_files()
        result = example.finish()
        return (
            f"{kills} kills {'at its writes' if aimed else 'at random'}: {broken} state files broken, "
            f"{example.failures} times ended by itself; "
            f"of {example.oracle.read():,} records {result['lost']:,} lost, {result['twice']:,} counted twice"
        )


@click.command()
@click.option("--example", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=PAGE)
@click.option("--kills", default=20, show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(example: Path, kills: int, seed: int) -> None:
    """Run the kill test on aiokafka's example."""
    code = code_of(example)
    with tempfile.TemporaryDirectory() as folder, KafkaJars(Path(folder)) as kafka:
        result = damage(code, Path(folder))
        click.echo(
            f"{result.tried} flipped bits and truncations of a small state file: {result.silently_wrong} change the "
            f"result silently, {result.refused} are refused, {result.unchanged} change nothing"
        )
        for aimed in (False, True):
            directory = Path(folder, f"aimed-{aimed}")
            directory.mkdir()
            click.echo(run(kafka, code, directory, kills, aimed=aimed, seed=seed))


if __name__ == "__main__":
    main()
