"""A session: the broker, its topics, and the options of the caller."""

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Self

import click

from benchmarks.broker import VERSION, Broker
from benchmarks.environments import CACHE
from benchmarks.topic import Topic, fill
from benchmarks.traffic import Traffic

__all__ = ["Session", "Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of the caller."""

    quick: bool
    records: int
    """The usual number of records."""
    runs: int
    contestants: Sequence[str]
    """Globs of contestants. If empty, the suite chooses."""

    @property
    def repetitions(self) -> int:
        """The number of runs of each measurement; 1 with `--quick`."""
        return 1 if self.quick else self.runs


class Session:
    """A context manager, which ends the broker and deletes its files."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._stack = ExitStack()
        self._topics: dict[Traffic, Topic] = {}

    def __enter__(self) -> Self:
        CACHE.mkdir(parents=True, exist_ok=True)
        self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(dir=CACHE, prefix="session-")))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def bootstrap_servers(self) -> str:
        """The address of the broker, which is started at the first use."""
        self.say(f"starting Apache Kafka {VERSION}")
        return self._stack.enter_context(Broker(self.directory)).bootstrap_servers

    def topic(self, traffic: Traffic) -> Topic:
        """A topic with this traffic, which is filled at its first use."""
        if traffic not in self._topics:
            self.say(f"filling a topic: {traffic}")
            self._topics[traffic] = fill(self.bootstrap_servers, traffic)
        return self._topics[traffic]

    def scratch(self, name: str) -> Path:
        """A new, empty directory."""
        return Path(tempfile.mkdtemp(dir=self.directory, prefix=f"{name}-"))

    def discard(self, directory: Path) -> None:
        """Delete a scratch directory."""
        shutil.rmtree(directory)

    def keep(self, directory: Path, name: str) -> Path:
        """Keep a directory beyond the session. It replaces an earlier one with the same name."""
        kept = CACHE / "failed" / name
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(exist_ok=True)
        return directory.rename(kept)

    def say(self, what: str) -> None:
        """Show a message to the waiting user."""
        click.echo(f"{datetime.now():%H:%M:%S} {what}", err=True)
