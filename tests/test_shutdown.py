"""Each run here is a process of its own, which gets real signals."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent, indent

import pytest

from tests.end_to_end.worker import Worker

_SECONDS = 20.0

SCRIPT = """
import asyncio, ctypes, logging, multiprocessing, os, signal, subprocess, sys, threading, time
from framework.shutdown import Shutdown, crash

logging.basicConfig(level=logging.INFO, format="%(message)s")

def tell(text):
    print(text, flush=True)

def block():
    "In C code that goes on after a signal, so that the main thread never runs a handler."
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(128)
    libc.pthread_mutex_init(mutex, None)
    libc.pthread_mutex_lock(mutex)
    tell("ready")
    libc.pthread_mutex_lock(mutex)

async def main(timeout):
    stopped = asyncio.Event()
    def stop():
        tell("stopping")
        stopped.set()
    with Shutdown(stop, lambda: "plugin keycount", timeout=timeout):
BODY
    tell("left")

SETUP
asyncio.run(main(TIMEOUT))
tell("ended")
"""


class Process:
    """A process whose lines can be waited for."""

    def __init__(self, script: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait_for(self, line: str) -> None:
        assert self._process.stdout is not None
        for found in self._process.stdout:
            if found.rstrip("\n") == line:
                return
        raise AssertionError(f"it ended without {line!r}: {self.wait()}")

    def send(self, *numbers: signal.Signals) -> None:
        for number in numbers:
            self._process.send_signal(number)

    def wait(self) -> tuple[int, list[str], str]:
        """Its exit status, the lines that were not waited for, and its messages."""
        out, messages = self._process.communicate(timeout=_SECONDS)
        return self._process.returncode, out.splitlines(), messages

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


Start = Callable[..., Process]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process that is in a `Shutdown`, with what it does there."""
    started: list[Process] = []

    def start(body: str, timeout: float = _SECONDS, setup: str = "") -> Process:
        script = SCRIPT.replace("BODY", indent(dedent(body), " " * 8)).replace("TIMEOUT", repr(timeout))
        process = Process(script.replace("SETUP", dedent(setup)))
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


WAITS = """
    tell("ready")
    await stopped.wait()
"""

NEVER_STOPS = """
    tell("ready")
    await asyncio.Event().wait()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_run_in_order(start: Start, number: signal.Signals) -> None:
    process = start(WAITS)
    process.wait_for("ready")
    process.send(number)
    assert process.wait() == (0, ["stopping", "left", "ended"], "")


def test_without_a_signal_a_run_ends_by_itself(start: Start) -> None:
    assert start('tell("ready")').wait() == (0, ["ready", "left", "ended"], "")


BLOCKED = {
    "a task that waits for ever": NEVER_STOPS,
    "a lock that is never given back": """
        lock = threading.Lock()
        lock.acquire()
        tell("ready")
        lock.acquire()
    """,
    "a loop in Python": """
        tell("ready")
        while True:
            pass
    """,
    "a call that signals interrupt, again and again": """
        tell("ready")
        while True:
            ctypes.CDLL(None).pause()
    """,
    "a call that signals do not interrupt": "block()",
    "an error that is caught, again and again": """
        tell("ready")
        while True:
            try:
                await asyncio.sleep(3600)
            except BaseException:
                pass
    """,
    "an activity that cannot be told": """
        shutdown = Shutdown(stop, lambda: 1 / 0, timeout=0.2)
        with shutdown:
            tell("ready")
            await asyncio.Event().wait()
    """,
}


@pytest.mark.parametrize("body", BLOCKED.values(), ids=BLOCKED)
def test_a_run_that_does_not_stop_ends_as_in_a_crash(start: Start, body: str) -> None:
    process = start(body, timeout=0.2)
    process.wait_for("ready")
    process.send(signal.SIGTERM)
    status, printed, messages = process.wait()
    assert status == 1
    assert "left" not in printed
    told = "an unknown activity (ZeroDivisionError: " if "1 / 0" in body else "plugin keycount"
    first, last = messages.splitlines()
    assert first.startswith(f"still stopping, waiting for {told}")
    assert last.startswith(f"not stopped 0.2 s after the signal, waiting for {told}")
    assert last.endswith(": ending without a last checkpoint; the stored state is intact")


def test_a_run_that_is_blocked_while_it_writes_to_the_log_ends_without_a_message(start: Start) -> None:
    """The main thread has the lock of the log, so no other thread can write to it."""
    process = start("logging.getLogger().handlers[0].acquire(); block()", timeout=0.2)
    process.wait_for("ready")
    process.send(signal.SIGTERM)
    assert process.wait() == (1, [], "")


def test_a_run_that_takes_its_time_is_told_of_and_ends_in_order(start: Start) -> None:
    """It ends as soon as the message is there, long before the time is over."""
    process = start(
        """
        class Told(logging.Handler):
            def emit(self, record):
                loop.call_soon_threadsafe(told.set)

        loop, told = asyncio.get_running_loop(), asyncio.Event()
        logging.getLogger().addHandler(Told())
        tell("ready")
        await told.wait()
        """,
        timeout=4,
    )
    process.wait_for("ready")
    process.send(signal.SIGTERM)
    status, printed, messages = process.wait()
    assert (status, printed) == (0, ["stopping", "left", "ended"])
    assert messages.startswith(
        "still stopping, waiting for plugin keycount; in 2 s the process ends without a last checkpoint"
    )


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_kills(start: Start, first: signal.Signals, second: signal.Signals) -> None:
    process = start(NEVER_STOPS)
    process.wait_for("ready")
    process.send(first)
    process.wait_for("stopping")
    process.send(second)
    status, _, messages = process.wait()
    assert (status, messages) == (-second, "")


def test_the_second_signal_ends_a_process_whose_main_thread_is_blocked(start: Start) -> None:
    """That one could not handle the first signal, so the second has no effect of its own."""
    process = start("block()", timeout=_SECONDS * 3)
    process.wait_for("ready")
    process.send(signal.SIGTERM, signal.SIGINT)
    assert process.wait()[0] in {128 + signal.SIGTERM, 128 + signal.SIGINT}


@pytest.mark.parametrize("body", [NEVER_STOPS, BLOCKED["a loop in Python"]], ids=["waits", "computes"])
@pytest.mark.parametrize("number", range(5))
def test_of_two_signals_at_once_none_is_lost(start: Start, body: str, number: int) -> None:
    """Whether the main thread handles the first one before the second one comes is chance."""
    process = start(body, timeout=_SECONDS * 3)
    process.wait_for("ready")
    process.send(signal.SIGTERM, signal.SIGINT)
    ends = {-signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM}
    assert process.wait()[0] in ends


@pytest.mark.parametrize("handler", [signal.SIGINT, signal.SIGTERM], ids=["first", "last"])
def test_a_signal_between_the_handlers_stops_the_run_and_lets_the_next_one_kill(
    start: Start, handler: signal.Signals
) -> None:
    process = start(
        """
        tell([signal.getsignal(number).name for number in (signal.SIGINT, signal.SIGTERM)])
        await stopped.wait()
        """,
        setup=f"""
        set_handler = signal.signal
        def set_and_send(number, handler):
            previous = set_handler(number, handler)
            if number == {int(handler)} and getattr(handler, "__name__", "") == "_handle":
                os.kill(os.getpid(), signal.SIGINT)
            return previous
        signal.signal = set_and_send
        """,
    )
    assert process.wait() == (0, ["['SIG_DFL', 'SIG_DFL']", "stopping", "left", "ended"], "")


def test_afterwards_signals_belong_to_whom_they_belonged_before(start: Start) -> None:
    process = start(
        """
        before = [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)]
        threads = threading.active_count()
        with Shutdown(stop, lambda: "", timeout=5):
            assert signal.getsignal(signal.SIGTERM) not in before
        assert [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)] == before
        assert threading.active_count() == threads
        os.kill(os.getpid(), signal.SIGTERM)
        await stopped.wait()
        """
    )
    assert process.wait() == (0, ["stopping", "left", "ended"], "")


HANDLERS = {
    "set before": ("loop.add_signal_handler(signal.SIGUSR1, heard.set)", "pass"),
    "set meanwhile": ("pass", "loop.add_signal_handler(signal.SIGUSR1, heard.set)"),
}


@pytest.mark.parametrize(("before", "meanwhile"), HANDLERS.values(), ids=HANDLERS)
def test_other_handlers_of_the_event_loop_go_on(start: Start, before: str, meanwhile: str) -> None:
    """Those are told through the one wakeup fd that a process has, and so are we."""
    process = start(
        f"""
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        {before}
        with Shutdown(stop, lambda: "", timeout={_SECONDS}):
            {meanwhile}
            os.kill(os.getpid(), signal.SIGUSR1)
            await heard.wait()
            tell("heard")
            os.kill(os.getpid(), signal.SIGTERM)
            await stopped.wait()
        """
    )
    assert process.wait() == (0, ["heard", "stopping", "left", "ended"], "")


def test_a_signal_to_a_forked_process_is_its_own(start: Start) -> None:
    """It has our handlers and our socket, but neither our event loop nor our thread."""
    process = start(
        """
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.write(writer, b"1")
            signal.pause()
        os.read(reader, 1)
        os.kill(pid, signal.SIGTERM)
        tell(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        tell("ready")
        await stopped.wait()
        """
    )
    process.wait_for(str(-signal.SIGTERM))
    process.wait_for("ready")
    process.send(signal.SIGTERM)
    assert process.wait()[:2] == (0, ["stopping", "left", "ended"])


def test_a_forked_process_that_goes_on_does_not_hold_up_the_end(start: Start) -> None:
    process = start(
        """
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        """
    )
    status, printed, _ = process.wait()
    assert (status, printed) == (0, ["left", "ended"])


def test_a_child_process_takes_signals_as_any_other(start: Start) -> None:
    process = start(
        """
        child = subprocess.Popen(["sleep", "600"])
        child.terminate()
        tell(child.wait())
        """
    )
    assert process.wait() == (0, [str(-signal.SIGTERM), "left", "ended"], "")


BLOCKING_PLUGIN = """
import sys, threading
import framework

class Blocks(framework.Processor):
    api_version = 1
    name = "blocks"

    def process(self, record, state, out):
        lock = threading.Lock()
        lock.acquire()
        print("blocked", file=sys.stderr, flush=True)
        lock.acquire()
"""


def test_a_plugin_that_never_returns_does_not_hold_up_the_end_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "blocks.py").write_text(BLOCKING_PLUGIN)
    with Worker("--plugin", "blocks.py", "--shutdown-timeout", "300ms", cwd=tmp_path) as worker:
        worker.wait_for("blocked")
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 1
    assert any("waiting for plugin blocks, which is applying generated-" in line for line in worker.messages)
