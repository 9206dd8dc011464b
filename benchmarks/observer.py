"""A plugin that notes when a run got its first partition, and when its last checkpoint was stored."""

import atexit
import json
import os
import time
from pathlib import Path

from framework import TopicPartition, hookimpl

_times: dict[str, float] = {}


@hookimpl
def framework_assigned(plugin: str, partition: TopicPartition, last_offset: int, epoch: int) -> None:
    _times.setdefault("first", time.time())


@hookimpl
def framework_checkpoint_saved(plugin: str, partition: TopicPartition, last_offset: int, changes: int) -> None:
    _times["last"] = time.time()


@atexit.register
def _write() -> None:
    Path(os.environ["BENCHMARK_TIMES"]).write_text(json.dumps(_times))
