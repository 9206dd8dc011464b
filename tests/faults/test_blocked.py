"""A `process` that blocks the event loop for longer than the session: the member is thrown out, and comes back."""

import pytest

from tests.faults.application import SESSION_SECONDS

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

_BLOCKING = f"""
import pathlib
import time

from framework import Processor


class Extra(Processor):
    api_version = 1

    def process(self, record, state, out):
        if record.offset % 4000 == 3999:
            once = pathlib.Path(f"blocked-{{record.partition}}-{{record.offset}}")
            if not once.exists():
                once.touch()
                time.sleep({2 * SESSION_SECONDS})
        state[record.key] = state.get(record.key, 0) + 1
"""


def test_a_blocked_loop(application):
    running = application(plugin=_BLOCKING)
    for _ in range(2):
        running.start().wait_for("assigned: ")
    running.wait_for(24_000)
    assert len(list(running.directory.glob("blocked-*"))) >= 4
    assert any("has claimed it" in message for worker in running.workers for message in worker.messages)
    running.finish()
