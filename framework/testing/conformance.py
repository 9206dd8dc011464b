"""The conformance kit: does a processor keep the contract that exactly-once state rests on?"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from itertools import zip_longest
from typing import Any

from framework.borders import describe, is_plugin_failure, shown
from framework.codecs import Codec
from framework.codecs.json import JsonCodec
from framework.codecs.msgpack import MsgpackCodec
from framework.errors import CodecError, UsageError
from framework.plugins import check_processor_class
from framework.processor import Options, Processor
from framework.records import Batch, Record
from framework.runtime.expiry import NotedTable
from framework.table import Table, stored_key
from framework.testing.driver import Driver, Result, Stored, pieces, stretches, to_batch
from framework.timers import Timer

__all__ = ["check_processor"]

_CODECS: tuple[type[Codec], ...] = (JsonCodec, MsgpackCodec)
_BATCH_SIZES = (1, 2, 3, 7)
_RESTARTS = 32
_AT_ONCE = 1000
_REFERENCE = "one run of process"


def check_processor(
    processor: type[Processor],
    records: Iterable[Record | tuple[Any, Any]],
    options: Options | Mapping[str, Any] | None = None,
    *,
    until: int | None = None,
    out_of_order: int | None = None,
    idle: Mapping[int, int] | None = None,
) -> None:
    """Check `processor` with `records` (as for `run_processor`), which should include some that it refuses.

    The timestamps of the records are the event times; `until`, `idle` and `out_of_order` are as for `run_processor`.

    - A second run gives the same state, timers and outputs, and the same late records.
    - `process_batch` gives the same result as `process`, however the records are split, and refuses the same records.
    - Both codecs restore state and timers without a difference, and a new instance continues from them with the same
      results, also between two timers that are due together, and whatever the order of the keys. No container occurs
      in the state twice.
    - Every change of a value is noticed, also if the value was changed in place.
    - Each instance can be opened and closed.

    Raises `AssertionError` that names the broken rule, `PluginError` if the class itself breaks the contract, and
    `UsageError` if all records are refused, because then nothing was checked.
    """
    check_processor_class(processor)
    batch = to_batch(records)

    def new(stored: Stored | None = None) -> Driver:
        return Driver(processor, batch.topic_partition, options, stored, out_of_order=out_of_order)

    parts = list(stretches(batch, idle, until))
    expected = _run(new, parts, 1, fast=False)
    if len(expected.failed) == len(batch):
        reasons = "".join(f", the first with {describe(error)}" for error in [*expected.failed.values()][:1])
        raise UsageError(f"the processor refuses each of the {len(batch)} records{reasons}; nothing can be checked")
    for codec in _CODECS:
        for key, value in expected.state.items():
            _encoded(codec(), key, value)
    _compare("a second run over the same records", _run(new, parts, 1, fast=False), expected)
    for size in (*_BATCH_SIZES, len(batch)):
        _compare(f"process_batch with {size} records a batch", _run(new, parts, size, fast=True), expected)
    undisturbed = _states(new, parts)
    for codec in _CODECS:
        run = f"a run with restarts, codec {codec.name}"
        result, states = _run_with_restarts(new, parts, codec())
        _compare(run, result, expected)
        for at, state in states.items():
            _compare_state(f"{run}, at {at}", state, f"{_REFERENCE} gives", undisturbed[at])


_New = Callable[..., Driver]
_Parts = Sequence[tuple[Batch, int | None]]
"""As `stretches` gives them."""
_States = dict[str, dict[Any, Any]]
"""States by where in the run they were there."""


@contextmanager
def _driving(new: _New, stored: Stored | None = None) -> Iterator[Driver]:
    driver = new(stored)
    with _named("open"):
        driver.open()
    try:
        yield driver
    finally:
        with _named("close"):
            driver.close()


@contextmanager
def _named(method: str) -> Iterator[None]:
    """Report an error as that of `method`, which every start of a worker and every load of a state calls."""
    try:
        yield
    except BaseException as error:
        if not is_plugin_failure(error):
            raise
        raise AssertionError(f"{method} fails with {describe(error)}") from error


def _run(new: _New, parts: _Parts, size: int, *, fast: bool) -> Result:
    with _driving(new) as driver:
        for batch, time in parts:
            for piece in pieces(batch, size):
                driver.apply(piece, fast=fast, skip=True)
                if driver.needless:
                    raise AssertionError(
                        f"process_batch fails at offsets {piece.start} to {piece.end - 1} with {driver.needless[0]!r}, "
                        "but process accepts each of these records"
                    )
            if time is not None:
                driver.step(time)
                driver.fire(skip=True)
        return driver.take_result()


def _steps(driver: Callable[[], Driver], parts: _Parts) -> Iterator[str]:
    """Apply one record, or let one timer fire, at a time, and yield where this is. The driver may change between."""
    for batch, time in parts:
        for record in pieces(batch, 1):
            driver().apply(record, fast=False, skip=True, fire=False)
            yield from _fired(driver, f"offset {record.offsets[0]}")
        if time is not None:
            driver().step(time)
            yield from _fired(driver, f"event time {time} before offset {batch.end}")


def _fired(driver: Callable[[], Driver], at: str) -> Iterator[str]:
    yield at
    fired = 0
    while driver().is_due:
        driver().fire(skip=True, most=1)
        fired += 1
        yield f"{at}, after {fired} timers"


def _restart_after(parts: _Parts) -> int:
    """The number of steps from one restart to the next: two or more, so that a step sees what an earlier one left."""
    return max(2, sum(len(batch) for batch, _ in parts) // _RESTARTS)


def _states(new: _New, parts: _Parts) -> _States:
    """The state of a run wherever the run with restarts restarts; a difference may be gone at the end."""
    states: _States = {}
    with _driving(new) as driver:
        for number, at in enumerate(_steps(lambda: driver, parts), 1):
            if number % _restart_after(parts) == 0:
                states[at] = driver.take_result().state
    return states


def _run_with_restarts(new: _New, parts: _Parts, codec: Codec) -> tuple[Result, _States]:
    """Save the changes after each step; now and then load them into a new instance, which continues.

    Returns the result, and the state at each restart. The order of a state's keys is unspecified, so each load gives
    the keys that changed last first.
    """
    saved, states = _Saved(codec), _States()
    total = Result({}, [])
    with ExitStack() as instances:
        drivers = [instances.enter_context(_driving(new))]
        for number, at in enumerate(_steps(lambda: drivers[-1], parts), 1):
            saved.save(drivers[-1])
            if number % _restart_after(parts) == 0:
                _check_aliases(drivers[-1], codec)
                states[at] = _add(total, drivers[-1])
                instances.close()
                stored = saved.load(drivers[-1])
                _compare_state(f"saved with codec {codec.name}", stored.state, f"at {at} it holds", states[at])
                drivers.append(instances.enter_context(_driving(new, stored)))
        _check_aliases(drivers[-1], codec)
        _add(total, drivers[-1])
        stored = saved.load(drivers[-1])
    _compare_state(f"saved with codec {codec.name}", stored.state, "at the end it holds", total.state)
    return total, states


def _add(total: Result, driver: Driver) -> dict[Any, Any]:
    """Add the result of a further instance, which began with the state and the timers of the one before.

    Returns its state.
    """
    result = driver.take_result()
    total.state, total.timers, total.event_time = result.state, result.timers, result.event_time
    total.written = result.written
    total.outputs += result.outputs
    total.failed |= result.failed
    total.failed_timers += result.failed_timers
    total.late += result.late
    return result.state


class _Saved:
    """The entries of the driver's tables as they were last saved."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._state: dict[Any, bytes] = {}
        self._timers: dict[Any, bytes] = {}
        self._written: dict[Any, bytes] = {}

    def save(self, driver: Driver) -> None:
        """Take the changes of the driver's tables."""
        driver.timers.store_counters()
        expiry = driver.expiry
        self._take(driver.table if expiry is None else expiry.state, self._state)
        self._take(driver.timers.table, self._timers)
        if expiry is not None:
            self._take(expiry.table, self._written)

    def _take(self, table: Table[Any, Any] | NotedTable, saved: dict[Any, bytes]) -> None:
        while table.add_tallies(_AT_ONCE):
            pass
        changed, _ = table.take_changed()
        data = table.view()
        for key in changed:
            saved.pop(key, None)
            if key in data:
                stored, value = _encoded(self._codec, stored_key(data, key), data[key])
                saved[self._codec.decode(stored)] = value

    def load(self, driver: Driver) -> Stored:
        """State and timers as they were saved, with the progress of this driver."""
        state, timers, written = map(self._decoded, (self._state, self._timers, self._written))
        return Stored(state, timers, written, driver.watermark.time, driver.last_offset)

    def _decoded(self, saved: dict[Any, bytes]) -> dict[Any, Any]:
        return {key: self._codec.decode(value) for key, value in reversed(saved.items())}


def _encoded(codec: Codec, key: Any, value: Any) -> tuple[bytes, bytes]:
    try:
        return codec.encode(key), codec.encode(value)
    except CodecError as error:
        raise AssertionError(f"codec {codec.name} cannot hold the state of key {shown(key)}: {error}") from error


def _check_aliases(driver: Driver, codec: Codec) -> None:
    """One container in two places would come back as two; the codec finds this when the state is encoded as a whole."""
    try:
        codec.encode(dict(driver.table.view()))
    except CodecError as error:
        raise AssertionError(f"codec {codec.name} cannot hold the state: {error}") from error


def _compare(run: str, got: Result, expected: Result) -> None:
    refused, wanted = list(got.failed), list(expected.failed)
    if refused != wanted:
        raise AssertionError(f"{run}: refused are the offsets {refused}, but {_REFERENCE} refuses {wanted}")
    if got.late != expected.late:
        raise AssertionError(f"{run}: late are the offsets {got.late}, but {expected.late} are in {_REFERENCE}")
    _compare_state(run, got.state, f"{_REFERENCE} gives", expected.state)
    if got.written != expected.written:
        raise AssertionError(
            f"{run}: the keys were written last at {shown(got.written)}, but {shown(expected.written)} in {_REFERENCE}"
        )
    _compare_timers(f"{run}: the timers that are set", got.timers, expected.timers)
    _compare_timers(
        f"{run}: the timers that failed",
        [timer for timer, _ in got.failed_timers],
        [timer for timer, _ in expected.failed_timers],
    )
    for number, (output, other) in enumerate(zip_longest(got.outputs, expected.outputs)):
        if output != other:
            raise AssertionError(f"{run}: output {number} is {output}, but {_REFERENCE} sends {other}")


def _compare_timers(what: str, got: list[Timer], expected: list[Timer]) -> None:
    if got != expected:
        raise AssertionError(f"{what} are {shown(got)}, but {shown(expected)} are in {_REFERENCE}")


def _compare_state(run: str, got: Mapping[Any, Any], other: str, expected: Mapping[Any, Any]) -> None:
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
