"""The conformance kit: does a processor keep the contract that exactly-once state rests on?"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
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
from framework.table import stored_key
from framework.testing.driver import Driver, Result, pieces, to_batch

__all__ = ["check_processor"]

_CODECS: tuple[type[Codec], ...] = (JsonCodec, MsgpackCodec)
_BATCH_SIZES = (1, 2, 3, 7)
_RESTARTS = 32
_REFERENCE = "one run of process"


def check_processor(
    processor: type[Processor],
    records: Iterable[Record | tuple[Any, Any]],
    options: Options | Mapping[str, Any] | None = None,
) -> None:
    """Check `processor` with `records` (as for `run_processor`), which should include some that it refuses.

    - A second run gives the same state and the same outputs.
    - `process_batch` gives the same result as `process`, however the records are split, and refuses the same records.
    - Both codecs restore the state without a difference, and a new instance continues from it with the same results,
      whatever the order of its keys. No container occurs in it twice.
    - Every change of a value is noticed, also if the value was changed in place.
    - Each instance can be opened and closed.

    Raises `AssertionError` that names the broken rule, `PluginError` if the class itself breaks the contract, and
    `UsageError` if all records are refused, because then nothing was checked.
    """
    check_processor_class(processor)
    batch = to_batch(records)

    def new(state: Mapping[Any, Any] | None = None) -> Driver:
        return Driver(processor, batch.topic_partition, options, state)

    expected = _run(new, batch, 1, fast=False)
    if len(expected.failed) == len(batch):
        reasons = "".join(f", the first with {describe(error)}" for error in [*expected.failed.values()][:1])
        raise UsageError(f"the processor refuses each of the {len(batch)} records{reasons}; nothing can be checked")
    for codec in _CODECS:
        for key, value in expected.state.items():
            _encoded(codec(), key, value)
    _compare("a second run over the same records", _run(new, batch, 1, fast=False), expected)
    for size in (*_BATCH_SIZES, len(batch)):
        _compare(f"process_batch with {size} records a batch", _run(new, batch, size, fast=True), expected)
    undisturbed = _states(new, batch)
    for codec in _CODECS:
        run = f"a run with restarts, codec {codec.name}"
        result, states = _run_with_restarts(new, batch, codec())
        _compare(run, result, expected)
        for offset, state in states.items():
            _compare_state(f"{run}, at offset {offset}", state, f"{_REFERENCE} gives", undisturbed[offset])


_New = Callable[..., Driver]
_States = dict[int, dict[Any, Any]]
"""States by the offset that they were there at."""


@contextmanager
def _driving(new: _New, state: Mapping[Any, Any] | None = None) -> Iterator[Driver]:
    driver = new(state)
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


def _run(new: _New, batch: Batch, size: int, *, fast: bool) -> Result:
    with _driving(new) as driver:
        for piece in pieces(batch, size):
            driver.apply(piece, fast=fast, skip=True)
            if driver.needless:
                raise AssertionError(
                    f"process_batch fails at offsets {piece.start} to {piece.end - 1} with {driver.needless[0]!r}, "
                    "but process accepts each of these records"
                )
        return driver.take_result()


def _between_restarts(batch: Batch) -> Iterator[Batch]:
    """Pieces of at least two records, so that a record sees what an earlier one left in the instance."""
    return pieces(batch, max(2, len(batch) // _RESTARTS))


def _states(new: _New, batch: Batch) -> _States:
    """The state of a run at each offset where the run with restarts restarts; a difference may be gone at the end."""
    states: _States = {}
    with _driving(new) as driver:
        for piece in _between_restarts(batch):
            for record in pieces(piece, 1):
                driver.apply(record, fast=False, skip=True)
            states[piece.end - 1] = driver.take_result().state
    return states


def _run_with_restarts(new: _New, batch: Batch, codec: Codec) -> tuple[Result, _States]:
    """Save the changes after each record; now and then load them into a new instance, which continues.

    Returns the result, and the state at each restart. The order of a state's keys is unspecified, so each load gives
    the keys that changed last first.
    """
    saved: dict[Any, bytes] = {}
    total, states = Result({}, []), _States()
    for piece in _between_restarts(batch):
        with _driving(new, total.state) as driver:
            for record in pieces(piece, 1):
                driver.apply(record, fast=False, skip=True)
                _save(driver, codec, saved)
            result = driver.take_result()
            _check_aliases(driver, codec)
        total.state = {key: codec.decode(value) for key, value in reversed(saved.items())}
        total.outputs += result.outputs
        total.failed |= result.failed
        holds = f"at offset {piece.end - 1} it holds"
        _compare_state(f"saved with codec {codec.name}", total.state, holds, result.state)
        states[piece.end - 1] = result.state
    return total, states


def _save(driver: Driver, codec: Codec, saved: dict[Any, bytes]) -> None:
    driver.table.add_tallies(len(driver.table))
    changed, _ = driver.table.take_changed()
    data = driver.table.view()
    for key in changed:
        saved.pop(key, None)
        if key in data:
            stored, value = _encoded(codec, stored_key(data, key), data[key])
            saved[codec.decode(stored)] = value


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
    _compare_state(run, got.state, f"{_REFERENCE} gives", expected.state)
    for number, (output, other) in enumerate(zip_longest(got.outputs, expected.outputs)):
        if output != other:
            raise AssertionError(f"{run}: output {number} is {output}, but {_REFERENCE} sends {other}")


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
