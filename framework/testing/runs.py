"""`framework run` in a process of its own, to its end."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framework.codecs.json import JsonCodec

__all__ = ["Run", "run_framework"]

_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Run:
    """A `framework run` that has ended."""

    status: int
    """The exit status; see `framework --help`."""
    stdout: str
    stderr: str
    store: str
    """Where the state is stored, as `--store` takes it."""
    group: str | None
    """The consumer group, if one was named."""

    def state(self, plugin: str) -> list[dict[str, Any]]:
        """Return the stored entries of a processor: dicts with `topic`, `partition`, `key`, `value` and other fields.

        Keys and values have the types that the state has.

        Raises `AssertionError` with the messages of `framework state export` if it fails.
        """
        group = () if self.group is None else ("--group", self.group)
        ended = _framework(("state", "export", plugin, "--store", self.store, *group), _SECONDS)
        assert ended.returncode == 0, ended.stderr
        codec = JsonCodec()
        return [codec.decode(line.encode()) for line in ended.stdout.splitlines()]


def run_framework(*arguments: object, directory: Path, timeout: float = _SECONDS, status: int | None = 0) -> Run:
    """Run `framework run` with these arguments to its end; it needs `--stop-at-end`.

    The state is stored under `directory`, unless the arguments name a `--store`. `timeout`: in seconds. `status`: the
    exit status that is expected; None: any. Variables `FRAMEWORK_…` of the environment are not passed on.

    Raises `AssertionError` with the messages of the run if it ends with another status, and
    `subprocess.TimeoutExpired` if it does not end.
    """
    texts = [str(argument) for argument in arguments]
    store = _value_of("--store", texts)
    if store is None:
        store = f"sqlite:{directory / 'state'}"
        texts += ["--store", store]
    ended = _framework(("run", *texts), timeout)
    told = f"framework run {' '.join(texts)} ended with {ended.returncode}, not {status}:\n{ended.stderr}"
    assert status in (None, ended.returncode), told
    return Run(ended.returncode, ended.stdout, ended.stderr, store, _value_of("--group", texts))


def _value_of(option: str, arguments: list[str]) -> str | None:
    """The value that the arguments give to an option, as `--option VALUE` or `--option=VALUE`."""
    for argument, following in zip(arguments, [*arguments[1:], None], strict=True):
        if argument == option:
            return following
        if argument.startswith(f"{option}="):
            return argument.removeprefix(f"{option}=")
    return None


def _framework(arguments: tuple[str, ...], timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "framework", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=_environment(os.environ),
    )


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith(("FRAMEWORK_", "KAFKA_BOOTSTRAP"))}
