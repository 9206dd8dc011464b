"""The conformance kit for processors finds what breaks the contract, and passes what keeps it."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from framework import Options, Processor, RecordError, UsageError
from framework.testing import ProcessorConformance, records_of
from framework.testing.case import Case
from framework.testing.conformance import RULES
from framework.testing.hash_seeds import NotCheckedError


class Order(msgspec.Struct):
    customer: str
    amount: Decimal
    notes: list[str] = []


class TotalsOptions(Options):
    """What is summed."""

    least: int = Field(0, description="The least amount that counts")


class Totals(Processor[str, Order, Decimal, TotalsOptions]):
    """Sums the amounts of orders."""

    api_version = 1
    value_format = Order
    state_version = 2
    Options = TotalsOptions

    def process(self, record: Any, state: Any, out: Any) -> None:
        if record.value is None or not record.value.amount.is_finite():
            raise RecordError("no amount")
        if record.value.amount >= self.options.least:
            state[record.key] = state.get(record.key, Decimal(0)) + record.value.amount

    @classmethod
    def migrate(cls, state: Any, from_version: int) -> None:
        for key in state:
            state[key] = Decimal(state[key])


class TestTotals(ProcessorConformance):
    processor = Totals
    options = {"least": 1}
    records = [("a", Order("x", Decimal(3))), ("b", None), ("a", Order("y", Decimal("0.5")))]
    old_states = {1: ({"a": "1.10"}, {"a": Decimal("1.10")})}


class OrderOfSets(Processor):
    """Sends the elements of a set in the order that it happens to have."""

    api_version = 1
    value_format = "utf8"

    def process(self, record: Any, state: Any, out: Any) -> None:
        words = set(record.value.split())
        out.send("words", " ".join(words))
        state[record.key] = len(words)


class ReadsItself(Processor):
    """Sends to its own input."""

    api_version = 1

    def process(self, record: Any, state: Any, out: Any) -> None:
        out.send(record.topic, record.value, key=record.key)


class UnclearOptions(Options):
    least: int = 0


class Unclear(Totals):
    Options: Any = UnclearOptions  # type: ignore[misc]


class Prints(Processor):
    """Prints, which must not disturb the other processes."""

    api_version = 1
    value_format = "utf8"

    def process(self, record: Any, state: Any, out: Any) -> None:
        print(record.value)  # noqa: T201
        state[record.key] = record.value


class NamesNoValue(Totals):
    """Names entries that cannot be printed."""

    @classmethod
    def entries(cls, state: Any) -> Any:
        return [{"key": key, "total": total} for key, total in state.items()]


WORDS = [("a", "one two three four five six seven eight nine ten eleven twelve")]


def test_a_result_that_depends_on_the_order_of_sets_is_found() -> None:
    with pytest.raises(AssertionError, match=r"a process with PYTHONHASHSEED=\d: output 0 is .*, but one run of"):
        RULES["hash-seeds"](Case(OrderOfSets, WORDS))


def test_a_processor_that_prints_gives_the_same_in_other_processes() -> None:
    RULES["hash-seeds"](Case(Prints, WORDS))


def test_a_processor_of_a_plugin_file_gives_the_same_in_other_processes(tmp_path: Path) -> None:
    from framework.plugins import load

    file = tmp_path / "counts.py"
    file.write_text(
        "from framework import Processor\nimport msgspec\nprint('imported')\nclass Row(msgspec.Struct):\n    n: int\n"
        "class Counts(Processor):\n    api_version = 1\n    value_format = Row\n"
        "    def process(self, record, state, out):\n        state[record.key] = record.value.n\n"
    )
    processor: Any = load([str(file)]).processors[0].cls
    RULES["hash-seeds"](Case(processor, [("a", processor.value_format(3))]))


def test_a_class_that_other_processes_cannot_have_is_not_checked() -> None:
    class Local(Totals):
        """Of a function."""

    with pytest.raises(NotCheckedError, match="another process cannot have the processor"):
        RULES["hash-seeds"](Case(Local, TestTotals.records))


def test_an_output_to_the_input_is_found() -> None:
    with pytest.raises(AssertionError, match=r"offset 0 fails because of its output: .*own input"):
        RULES["outputs"](Case(ReadsItself, [("a", b"")]))


def test_options_and_classes_without_description_are_found() -> None:
    case = Case(Unclear, TestTotals.records)
    with pytest.raises(AssertionError, match="options without a description: least"):
        RULES["descriptions"](case)
    Unclear.Options = TotalsOptions
    with pytest.raises(AssertionError, match="Unclear has no docstring"):
        RULES["descriptions"](case)


class Mistyped(Totals):
    """Has a mistake that only some records meet."""

    def process(self, record: Any, state: Any, out: Any) -> None:
        if record.value is None:
            state[record.key] = self.options.leest  # type: ignore[attr-defined]


def test_a_mistake_that_only_some_records_meet_is_found() -> None:
    with pytest.raises(AssertionError, match=r"offset 1 fails with AttributeError: .*leest.*raise RecordError"):
        RULES["failures"](Case(Mistyped, TestTotals.records))


def test_entries_without_a_value_are_found() -> None:
    with pytest.raises(AssertionError, match=r"entries gives an entry without key or value: .*'total'"):
        RULES["entries"](Case(NamesNoValue, TestTotals.records))


@pytest.mark.parametrize(
    ("old", "told"),
    [({}, "keep a state of each older version"), ({1: ({"a": "1"}, {"a": Decimal(2)})}, "migrate from version 1: the")],
)
def test_a_state_that_is_migrated_wrongly_is_found(old: Any, told: str) -> None:
    class Kit(ProcessorConformance):
        processor = Totals
        old_states = old

    with pytest.raises(AssertionError, match=told):
        Kit().test_old_states_are_migrated()


@pytest.mark.parametrize("form", ["utf8", "bytes", "json", "int", "int32", "double", "uuid", "msgpack"])
@given(data=st.data())
def test_made_up_records_are_as_the_format_reads_them(form: str, data: st.DataObject) -> None:
    from framework.plugins import load

    processor = type("Any", (Totals,), {"value_format": form, "key_format": "utf8"})
    reader = load([]).format(form, "value")
    for key, value in data.draw(records_of(processor)):
        assert key is None or isinstance(key, str)
        if value is not None and value == value:  # NaN does not equal itself
            assert reader.read(reader.write(value)) == value


@given(records_of(Totals))
def test_made_up_values_of_a_type_have_it(records: list[tuple[Any, Any]]) -> None:
    assert {type(value) for _, value in records} <= {Order, type(None)}


def test_formats_whose_values_cannot_be_made_up_are_told() -> None:
    with pytest.raises(UsageError, match="records of the format avro cannot be made up"):
        records_of(type("Any", (Totals,), {"value_format": "avro"}))
