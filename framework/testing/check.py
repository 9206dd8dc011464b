"""Checks a processor by all rules, and gives a verdict on each; for `framework check`."""

import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import getdoc
from typing import Literal

from framework.borders import describe, is_plugin_failure
from framework.errors import UsageError
from framework.testing.case import Case
from framework.testing.conformance import RULES, Rule
from framework.testing.hash_seeds import NotCheckedError

__all__ = ["Verdict", "check_rules"]

_DEEPEST = 6
"""How many lines of the stack are told of a processor that blocks."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one rule."""

    rule: str
    description: str
    status: Literal["ok", "finding", "not checked"]
    reason: str = ""
    """Why the status is not `ok`."""


def check_rules(case: Case, timeout: float) -> Iterator[Verdict]:
    """Check each rule, for `timeout` seconds at most. After one that takes longer, the others are not checked.

    Raises `UsageError` if the processor refuses all records, because then nothing can be checked.
    """
    blocked = False
    for name, rule in RULES.items():
        description = getdoc(rule) or name
        if blocked:
            yield Verdict(name, description, "not checked", "the processor blocks")
            continue
        outcome = _Outcome(case, rule)
        blocked = not outcome.wait(timeout)
        if blocked:
            reason = f"the processor blocks: it has not ended within {timeout:g} s\n{outcome.stack()}"
            yield Verdict(name, description, "finding", reason)
        elif isinstance(outcome.error, UsageError):
            raise outcome.error
        elif isinstance(outcome.error, NotCheckedError):
            yield Verdict(name, description, "not checked", str(outcome.error))
        elif isinstance(outcome.error, AssertionError):
            yield Verdict(name, description, "finding", str(outcome.error))
        elif outcome.error is not None:
            yield Verdict(name, description, "finding", f"fails with {describe(outcome.error)}")
        else:
            yield Verdict(name, description, "ok")


class _Outcome:
    """A rule that is checked in a thread of its own, so that a processor that blocks can be told."""

    def __init__(self, case: Case, rule: Rule) -> None:
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._check, args=(case, rule), daemon=True)
        self._thread.start()

    def _check(self, case: Case, rule: Rule) -> None:
        try:
            rule(case)
        except BaseException as error:
            if not (is_plugin_failure(error) or isinstance(error, AssertionError)):
                raise
            self.error = error

    def wait(self, timeout: float) -> bool:
        """Wait until the check has ended, or for `timeout` seconds. Returns whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def stack(self) -> str:
        """Where the thread is."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        return "".join(traceback.format_stack(frame)[-_DEEPEST:]).rstrip()
