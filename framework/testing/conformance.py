"""The conformance kit: does a processor keep the contract that exactly-once state rests on?"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from itertools import zip_longest
from typing import Any

from framework.codecs import Codec
from framework.codecs.json import JsonCodec
from framework.codecs.msgpack import MsgpackCodec
from framework.errors import CodecError, UsageError
from framework.plugins import check_processor_class
from framework.processor import Options, Processor
from framework.records import Batch, Record
from framework.testing.driver import Driver, Result, pieces, to_batch

__all__ = ["check_processor"]

_CODECS: tuple[type[Codec], ...] = (JsonCodec, MsgpackCodec)
_BATCH_SIZES = (1, 2, 3, 7)
_RESTARTS = 8
_REFERENCE = "one run of process"


def check_processor(
    processor: type[Processor],
    records: Iterable[Record | tuple[Any, Any]],
    options: Options | Mapping[str, Any] | None = None,
) -> None:
    """Check `processor` over `records` (as for `run_processor`); put some that it refuses among them.

    - A second run gives the same state and the same outputs.
    - `process_batch` gives the same as `process`, however the records are split, and refuses the same records.
    - State comes back from both codecs as it was, and a new instance goes on from it as if nothing had happened.
    - Every change of a value is seen as a change, also where the value was changed in place.

    Raises `AssertionError` that tells what is broken, `PluginError` where the class itself breaks the contract, and
    `UsageError` where all records are refused, for then nothing was checked.
    """
    check_processor_class(processor)
    batch = to_batch(records)

    def new(state: Mapping[Any, Any] | None = None) -> Driver:
        return Driver(processor, batch.source, options, state)

    expected = _run(new, batch, 1, fast=False)
    if len(expected.failed) == len(batch):
        raise UsageError(f"the processor refuses each of the {len(batch)} records, so nothing can be checked")
    _compare("a second run over the same records", _run(new, batch, 1, fast=False), expected)
    for size in (*_BATCH_SIZES, len(batch)):
        _compare(f"process_batch with {size} records a batch", _run(new, batch, size, fast=True), expected)
    for codec in _CODECS:
        _compare(f"a run with restarts, codec {codec.name}", _run_with_restarts(new, batch, codec()), expected)


_New = Callable[..., Driver]


def _run(new: _New, batch: Batch, size: int, *, fast: bool) -> Result:
    with new() as driver:
        for piece in pieces(batch, size):
            driver.apply(piece, fast=fast, skip=True)
            if driver.needless:
                raise AssertionError(
                    f"process_batch fails at offsets {piece.start} to {piece.end - 1} with {driver.needless[0]!r}, "
                    "but process accepts each of these records"
                )
        return driver.take_result()


def _run_with_restarts(new: _New, batch: Batch, codec: Codec) -> Result:
    """Save what changed after each record; now and then load it into a new instance, which goes on."""
    saved: dict[Any, bytes] = {}
    total = Result({}, [])
    for piece in pieces(batch, -(-len(batch) // _RESTARTS)):
        with new(total.state) as driver:
            for record in pieces(piece, 1):
                driver.apply(record, fast=False, skip=True)
                _save(driver, codec, saved)
            result = driver.take_result()
        total.state = {key: codec.decode(value) for key, value in saved.items()}
        total.outputs += result.outputs
        total.failed |= result.failed
        holds = f"at offset {piece.end - 1} it holds"
        _compare_state(f"saved with codec {codec.name}", total.state, holds, result.state)
    return total


def _save(driver: Driver, codec: Codec, saved: dict[Any, bytes]) -> None:
    changed, gone = driver.state.take_changes()
    for key, value in changed.items():
        try:
            saved[codec.decode(codec.encode(key))] = codec.encode(value)
        except CodecError as error:
            raise AssertionError(f"codec {codec.name} cannot hold the state of key {key!r}: {error}") from error
    for key in gone:
        saved.pop(key, None)


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
