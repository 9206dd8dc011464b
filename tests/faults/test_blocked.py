"""A `process` that blocks the event loop for longer than the session: the member is thrown out, and comes back."""

import pytest

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

_BLOCKING = """
import pathlib
import time

from framework import Processor


class Extra(Processor):
    api_version = 1

    def process(self, record, state, out):
        if record.partition == 0 and record.offset % 2000 == 1999:
            block(record.offset)
        state[record.key] = state.get(record.key, 0) + 1


def block(offset):
    '''The first worker blocks until another worker has claimed the partition, and applies the same record.'''
    taken = pathlib.Path(f"taken-{offset}")
    try:
        pathlib.Path(f"blocked-{offset}").touch(exist_ok=False)
    except FileExistsError:
        taken.touch()
    deadline = time.monotonic() + 60
    while not taken.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
"""


def test_a_blocked_loop(application):
    running = application(plugin=_BLOCKING)
    for _ in range(2):
        running.start().wait_for("assigned: ")
    running.wait_for(24_000)
    blocked = {path.name.removeprefix("blocked-") for path in running.directory.glob("blocked-*")}
    taken = {path.name.removeprefix("taken-") for path in running.directory.glob("taken-*")}
    assert len(blocked) >= 2
    assert taken == blocked
    assert any("has claimed it" in message for worker in running.workers for message in worker.messages)
    running.finish()
