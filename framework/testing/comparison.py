"""Comparing the results of two runs."""

from collections.abc import Mapping
from decimal import Decimal
from itertools import zip_longest
from typing import Any, Final

from framework.borders import shown
from framework.testing.instance import Result
from framework.timers import Timer

__all__ = ["REFERENCE", "compare", "compare_states"]

REFERENCE: Final = "one run of process"


def compare(run: str, got: Result, expected: Result) -> None:
    """Compare the result of a run with that of the reference. Raises `AssertionError` with the first difference."""
    refused, wanted = list(got.failed), list(expected.failed)
    if refused != wanted:
        raise AssertionError(f"{run}: refused are the offsets {refused}, but {REFERENCE} refuses {wanted}")
    if got.late != expected.late:
        raise AssertionError(f"{run}: late are the offsets {got.late}, but {expected.late} are in {REFERENCE}")
    compare_states(run, got.state, f"{REFERENCE} gives", expected.state)
    if got.written != expected.written:
        raise AssertionError(
            f"{run}: the keys were written last at {shown(got.written)}, but {shown(expected.written)} in {REFERENCE}"
        )
    _compare_timers(f"{run}: the timers that are set", got.timers, expected.timers)
    _compare_timers(
        f"{run}: the timers that failed",
        [timer for timer, _ in got.failed_timers],
        [timer for timer, _ in expected.failed_timers],
    )
    for number, (output, other) in enumerate(zip_longest(got.outputs, expected.outputs)):
        if output != other:
            raise AssertionError(f"{run}: output {number} is {output}, but {REFERENCE} sends {other}")


def _compare_timers(what: str, got: list[Timer], expected: list[Timer]) -> None:
    if got != expected:
        raise AssertionError(f"{what} are {shown(got)}, but {shown(expected)} are in {REFERENCE}")


def compare_states(run: str, got: Mapping[Any, Any], other: str, expected: Mapping[Any, Any]) -> None:
    """Compare two states: equal values of the same types. Raises `AssertionError` that names a key that differs."""
    for key in {**expected, **got}:
        if not (key in got and key in expected and _same(got[key], expected[key])):
            raise AssertionError(
                f"{run}: the state of key {key!r} is {_shown(got, key)}, but {other} {_shown(expected, key)}"
            )


def _shown(state: Mapping[Any, Any], key: Any) -> str:
    return repr(state[key]) if key in state else "missing"


def _same(one: Any, other: Any) -> bool:
    """Equal and of the same type, at any depth; NaN is the same as NaN, and 1.0 is not 1.00."""
    if type(one) is not type(other):
        return False
    match one:
        case float() | Decimal():
            return repr(one) == repr(other)
        case list() | tuple():
            return len(one) == len(other) and all(map(_same, one, other))
        case dict():
            return len(one) == len(other) and all(key in other and _same(one[key], other[key]) for key in one)
        case _:
            return bool(one == other)
