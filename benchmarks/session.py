"""A session: the broker, its topics and what the caller asked for, for as long as it lasts."""

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
from benchmarks.topic import Topic, Traffic, fill

__all__ = ["Session", "Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the caller asked for."""

    quick: bool
    records: int
    """The usual number of records."""
    runs: int
    contestants: Sequence[str]
    """Globs; empty: those that the suite chooses."""

    @property
    def repetitions(self) -> int:
        """How often to measure what is measured in runs, but once in a hurry."""
        return 1 if self.quick else self.runs


class Session:
    """As a context manager: ends the broker, and deletes what it left."""

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
        """Of the broker, which is started when it is first asked for."""
        self.say(f"starting Apache Kafka {VERSION}")
        return self._stack.enter_context(Broker(self.directory)).bootstrap_servers

    def topic(self, traffic: Traffic) -> Topic:
        """A topic with this traffic, filled the first time it is asked for."""
        if traffic not in self._topics:
            self.say(f"filling a topic: {traffic}")
            self._topics[traffic] = fill(self.bootstrap_servers, traffic)
        return self._topics[traffic]

    def scratch(self, name: str) -> Path:
        """A new, empty directory."""
        return Path(tempfile.mkdtemp(dir=self.directory, prefix=f"{name}-"))

    def discard(self, directory: Path) -> None:
        """Delete what a scratch directory took."""
        shutil.rmtree(directory)

    def keep(self, directory: Path, name: str) -> Path:
        """Keep a directory beyond the session, in place of the one that was kept under that name before."""
        kept = CACHE / "failed" / name
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(exist_ok=True)
        return directory.rename(kept)

    def say(self, what: str) -> None:
        """Tell the person who waits."""
        click.echo(f"{datetime.now():%H:%M:%S} {what}", err=True)
