"""The conformance kit: does a processor keep the contract that exactly-once state rests on?"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any, Final

from framework.borders import describe, located, shown
from framework.codecs import Codec
from framework.codecs.json import JsonCodec
from framework.codecs.msgpack import MsgpackCodec
from framework.errors import CodecError, OutputError
from framework.plugins import check_processor_class
from framework.processor import Options, Processor
from framework.records import Record
from framework.testing.case import Case
from framework.testing.comparison import REFERENCE, compare, compare_states
from framework.testing.hash_seeds import check_hash_seeds
from framework.testing.instance import Instance, Result
from framework.testing.saved import Saved, encoded

__all__ = ["PROMISE", "RULES", "Rule", "check_processor"]

Rule = Callable[[Case], None]
"""Raises `AssertionError` that tells how the processor breaks the rule. Its docstring is the rule."""

_CODECS: tuple[type[Codec], ...] = (JsonCodec, MsgpackCodec)
_BATCH_SIZES = (1, 2, 3, 7)
_MISTAKES = (NameError, AttributeError, ImportError, NotImplementedError, SyntaxError)


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
    case = Case(processor, records, options, until=until, out_of_order=out_of_order, idle=idle)
    for rule in PROMISE.values():
        rule(case)


def check_stored_values(case: Case) -> None:
    """Both codecs can store every key and value of the state."""
    for codec in _CODECS:
        for key, value in case.reference.state.items():
            encoded(codec(), key, value)


def check_second_run(case: Case) -> None:
    """A second run over the same records gives the same state, timers and outputs."""
    compare("a second run over the same records", case.run(1, fast=False), case.reference)


def check_batches(case: Case) -> None:
    """`process_batch` gives the same as `process`, however the records are split, and refuses the same records."""
    for size in (*_BATCH_SIZES, len(case.batch)):
        compare(f"process_batch with {size} records a batch", case.run(size, fast=True), case.reference)


def check_restarts(case: Case) -> None:
    """A new instance goes on from the stored state and timers as the old one would have."""
    expected, undisturbed = case.reference, _states(case)
    for codec in _CODECS:
        run = f"a run with restarts, codec {codec.name}"
        result, states = _run_with_restarts(case, codec())
        compare(run, result, expected)
        for at, state in states.items():
            compare_states(f"{run}, at {at}", state, f"{REFERENCE} gives", undisturbed[at])


def check_outputs(case: Case) -> None:
    """No record fails because of an output that cannot be sent, such as one to the processor's own input topic."""
    for offset, error in case.run(1, fast=False).failed.items():
        if isinstance(error, OutputError):
            raise AssertionError(f"the record at offset {offset} fails because of its output: {error}")


def check_failures(case: Case) -> None:
    """No record fails because of a mistake in the code, such as a name that is not there."""
    for offset, error in case.reference.failed.items():
        if isinstance(error, _MISTAKES):
            raise AssertionError(
                f"the record at offset {offset} fails with {located(describe(error), error)}; if the record is bad, "
                "raise RecordError, which tells a user what is wrong with it"
            )


def check_entries(case: Case) -> None:
    """Each entry of the state, as it is printed, has a key and a value, and JSON can have its fields."""
    for fields in case.processor.entries(case.reference.state):
        if not {"key", "value"} <= fields.keys():
            raise AssertionError(f"entries gives an entry without key or value: {shown(dict(fields))}")
        encoded(JsonCodec(), fields["key"], dict(fields))


def check_descriptions(case: Case) -> None:
    """Each option, and the processor, has a description."""
    silent = [name for name, field in case.processor.Options.model_fields.items() if not field.description]
    if silent:
        raise AssertionError(
            f"options without a description: {', '.join(silent)}; write Field(description=…), which `framework plugins "
            "info` shows"
        )
    if not case.processor.__doc__:
        raise AssertionError(f"{case.processor.__qualname__} has no docstring; its first line is the plugin's summary")


PROMISE: Final[Mapping[str, Rule]] = {
    "stored-values": check_stored_values,
    "second-run": check_second_run,
    "batches": check_batches,
    "restarts": check_restarts,
}
"""The rules without which state is not exactly once."""

RULES: Final[Mapping[str, Rule]] = {
    **PROMISE,
    "hash-seeds": check_hash_seeds,
    "failures": check_failures,
    "outputs": check_outputs,
    "entries": check_entries,
    "descriptions": check_descriptions,
}
"""All rules, by name."""

_States = dict[str, dict[Any, Any]]
"""States by where in the run they were there."""


def _states(case: Case) -> _States:
    """The state of a run wherever the run with restarts restarts; a difference may be gone at the end."""
    states: _States = {}
    with case.opened() as instance:
        for number, at in enumerate(case.steps(lambda: instance), 1):
            if number % case.restart_after == 0:
                states[at] = instance.take_result().state
    return states


def _run_with_restarts(case: Case, codec: Codec) -> tuple[Result, _States]:
    """Save the changes after each step; now and then load them into a new instance, which continues.

    Returns the result, and the state at each restart. The order of a state's keys is unspecified, so each load gives
    the keys that changed last first.
    """
    saved, states = Saved(codec), _States()
    total = Result({}, [])
    with ExitStack() as stack:
        instances = [stack.enter_context(case.opened())]
        for number, at in enumerate(case.steps(lambda: instances[-1]), 1):
            saved.save(instances[-1])
            if number % case.restart_after == 0:
                _check_aliases(instances[-1], codec)
                states[at] = _add(total, instances[-1])
                stack.close()
                stored = saved.load(instances[-1])
                compare_states(f"saved with codec {codec.name}", stored.state, f"at {at} it holds", states[at])
                instances.append(stack.enter_context(case.opened(stored)))
        _check_aliases(instances[-1], codec)
        _add(total, instances[-1])
        stored = saved.load(instances[-1])
    compare_states(f"saved with codec {codec.name}", stored.state, "at the end it holds", total.state)
    return total, states


def _add(total: Result, instance: Instance) -> dict[Any, Any]:
    """Add the result of a further instance, which began with the state and the timers of the one before.

    Returns its state.
    """
    result = instance.take_result()
    total.state, total.timers, total.event_time = result.state, result.timers, result.event_time
    total.written = result.written
    total.outputs += result.outputs
    total.failed |= result.failed
    total.failed_timers += result.failed_timers
    total.late += result.late
    return result.state


def _check_aliases(instance: Instance, codec: Codec) -> None:
    """One container in two places would come back as two; the codec finds this when the state is encoded as a whole."""
    try:
        codec.encode(dict(instance.table.view()))
    except CodecError as error:
        raise AssertionError(f"codec {codec.name} cannot hold the state: {error}") from error
