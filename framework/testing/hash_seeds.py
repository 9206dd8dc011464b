"""The same run in other processes, where Python hashes text otherwise. So sets have other orders there."""

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from operator import attrgetter
from types import ModuleType
from typing import Any, Final, NamedTuple

from framework.output import OutputRecord
from framework.testing.case import Case
from framework.testing.comparison import compare
from framework.testing.instance import Result
from framework.timers import Timer

__all__ = ["NotCheckedError", "answer", "check_hash_seeds"]

_SEEDS: Final = ("1", "2")
_SECONDS: Final = 25
"""The longest time for each process."""
_PROGRAM: Final = f"from {__name__} import answer; answer()"


class NotCheckedError(Exception):
    """A rule could not be checked. The message says why."""


class _Task(NamedTuple):
    """Where the processor's class is, and the arguments of its case."""

    path: list[str]
    module: str
    file: str
    """The file of the module, which may not be on the path, such as a plugin that is a file."""
    qualname: str
    case: bytes
    """Pickled on its own, because the module must be imported first."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A result without its exceptions, which other processes need not be able to make."""

    state: dict[Any, Any]
    outputs: list[OutputRecord]
    failed: list[int]
    timers: list[Timer]
    event_time: int
    failed_timers: list[Timer]
    written: dict[Any, int]
    late: list[int]

    @classmethod
    def of(cls, result: Result) -> "_Outcome":
        return cls(
            result.state,
            result.outputs,
            list(result.failed),
            result.timers,
            result.event_time,
            [timer for timer, _ in result.failed_timers],
            result.written,
            result.late,
        )

    def result(self) -> Result:
        error = Exception("of another process")
        return Result(
            self.state,
            self.outputs,
            dict.fromkeys(self.failed, error),
            self.timers,
            self.event_time,
            [(timer, error) for timer in self.failed_timers],
            self.written,
            self.late,
        )


def check_hash_seeds(case: Case) -> None:
    """The result does not depend on the order of sets, which other processes with other hash seeds have."""
    task = _task(case)
    for seed in _SEEDS:
        try:
            ended = subprocess.run(
                [sys.executable, "-c", _PROGRAM],
                input=task,
                capture_output=True,
                timeout=_SECONDS,
                check=False,
                env={**os.environ, "PYTHONHASHSEED": seed},
            )
        except subprocess.TimeoutExpired as error:
            raise NotCheckedError(f"another process did not end within {_SECONDS} s; give fewer records") from error
        if ended.returncode != 0:
            told = ended.stderr.decode(errors="replace").strip()
            raise AssertionError(f"a process with PYTHONHASHSEED={seed} fails: {told}")
        outcome: _Outcome = pickle.loads(ended.stdout)  # noqa: S301 - of our own process
        compare(f"a process with PYTHONHASHSEED={seed}", outcome.result(), case.reference)


def _task(case: Case) -> bytes:
    cls = case.processor
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    try:
        if file is None or cls.__module__ == "__main__" or attrgetter(cls.__qualname__)(module) is not cls:
            raise AttributeError(f"{cls.__qualname__} is not in a module")
        arguments = pickle.dumps((list(case.batch), dict(case.options), case.until, case.out_of_order, case.idle))
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise NotCheckedError(f"another process cannot have the processor and its records: {error}") from error
    return pickle.dumps(_Task(sys.path, cls.__module__, file, cls.__qualname__, arguments))


def answer() -> None:
    """Run the task of the standard input, and write its outcome to the standard output."""
    task: _Task = pickle.load(sys.stdin.buffer)  # noqa: S301 - of our own process
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # the plugin may print, also from C
    sys.path[:] = task.path
    processor = attrgetter(task.qualname)(_module(task.module, task.file))
    records, options, until, out_of_order, idle = pickle.loads(task.case)  # noqa: S301 - of our own process
    case = Case(processor, records, options, until=until, out_of_order=out_of_order, idle=idle)
    with answers:
        pickle.dump(_Outcome.of(case.run(1, fast=False)), answers)


def _module(name: str, file: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        spec = spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise
        module = sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
