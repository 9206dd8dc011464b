"""The outputs of a unit, until they are handed to the sink."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from framework.errors import OutputError
from framework.output import SOURCE_HEADERS, OutputRecord
from framework.records import Record, TopicPartition
from framework.runtime.outbox import Outbox
from tests.runtime.played import NO_WRITERS


@pytest.fixture
def out() -> Outbox:
    return Outbox("keycount", TopicPartition("orders", 3), NO_WRITERS)


def begin(out: Outbox, offset: int) -> None:
    """The next outputs come from the record at this offset, which is applied alone."""
    out.begin_records()
    out.record = Record("orders", 3, offset, 0, None, None)


def sources(records: list[OutputRecord]) -> list[tuple[str, ...]]:
    """The source headers of each output: plugin, topic, partition, offset and index."""
    return [tuple((dict(record.headers)[name] or b"").decode() for name in SOURCE_HEADERS) for record in records]


def rough_size(records: list[OutputRecord]) -> int:
    return sum(
        len(record.key or b"")
        + len(record.value or b"")
        + sum(len(name) + len(value or b"") for name, value in record.headers)
        for record in records
    )


def test_headers_name_the_output(out):
    for offset in (7, 9):
        begin(out, offset)
        out.send("totals", 1, headers=[("mine", b"x"), ("none", None)])
        out.send("totals", 2)
    records = out.take()
    assert records[0].headers[:2] == (("mine", b"x"), ("none", None))
    assert sources(records) == [
        ("keycount", "orders", "3", "7", "0"),
        ("keycount", "orders", "3", "7", "1"),
        ("keycount", "orders", "3", "9", "0"),
        ("keycount", "orders", "3", "9", "1"),
    ]


def test_an_output_has_the_partition_and_the_timestamp_that_it_was_sent_with(out):
    begin(out, 7)
    out.send("totals", 1)
    out.send("totals", 1, partition=2, timestamp=0)
    out.begin_batch([8])
    out.send("totals", 1, partition=0, position=0)
    assert [(record.partition, record.timestamp) for record in out.take()] == [(None, None), (2, 0), (0, None)]


def test_a_batch_names_its_outputs_as_its_records_would(out):
    out.begin_batch([7, 9, 12])
    for position in (0, 0, 2):
        out.send("totals", 1, position=position)
    assert [source[3:] for source in sources(out.take())] == [("7", "0"), ("7", "1"), ("12", "0")]


class Whole:
    """A whole number of another library."""

    def __index__(self) -> int:
        return 1


def test_a_position_may_be_a_whole_number_of_another_library(out):
    out.begin_batch([7, 9])
    out.send("totals", 1, position=Whole())
    out.refuse(Whole(), ValueError())
    assert sources(out.take())[0][3] == "9"
    assert list(out.refused) == [1]


@pytest.mark.parametrize("position", [None, -1, 3, 1.0, "1", pytest.param(10**5000, id="huge")])
def test_a_batch_needs_the_position_of_a_record(out, position):
    out.begin_batch([7, 9, 12])
    with pytest.raises(OutputError, match=r"plugin keycount: in process_batch, out\.send needs position="):
        out.send("totals", 1, position=position)
    assert len(out) == 0


def test_a_batch_must_send_in_record_order(out):
    out.begin_batch([7, 9])
    out.send("totals", 1, position=1)
    with pytest.raises(OutputError, match="in record order"):
        out.send("totals", 1, position=0)


def test_a_send_that_was_refused_leaves_no_trace(out):
    out.begin_batch([7, 9])
    out.send("totals", "kept", position=0)
    size = out.size
    bad_parts = {"value": {1}, "headers": {"a": b""}, "topic": "", "key": {1}, "partition": -1, "timestamp": 0.5}
    for part, bad in bad_parts.items():
        with pytest.raises(OutputError, match=r"^plugin keycount: "):
            out.send(**{"topic": "totals", "value": 1, "position": 1, part: bad})
    assert (len(out), out.size) == (1, size)
    out.send("totals", "kept too", position=0)
    assert [source[3:] for source in sources(out.take())] == [("7", "0"), ("7", "1")]


@pytest.mark.parametrize("error", [MemoryError(), SystemExit(), KeyboardInterrupt()])
def test_a_value_that_raises_while_it_is_read_leaves_no_trace(out, error):
    class Raising(dict[str, Any]):
        def items(self) -> Any:
            raise error

    def headers() -> Any:
        yield ("a", b"")
        raise error

    begin(out, 7)
    for bad in ({"value": Raising(a=1)}, {"key": Raising(a=1)}, {"headers": headers()}):
        with pytest.raises(type(error)):
            out.send(**{"topic": "totals", "value": 1, **bad})
    assert (len(out), out.size) == (0, 0)
    out.send("totals", 1)
    assert sources(out.take())[0][3:] == ("7", "0")


def test_a_value_that_sends_while_it_is_read_has_a_name_of_its_own(out):
    class Sending(dict[str, Any]):
        def items(self) -> Any:
            out.send("totals", "inner")
            return super().items()

    begin(out, 7)
    out.send("totals", Sending(a=1))
    assert [source[3:] for source in sources(out.take())] == [("7", "0"), ("7", "1")]


def test_the_input_topic_is_refused(out):
    begin(out, 7)
    with pytest.raises(OutputError, match="plugin keycount sends to its own input topic orders"):
        out.send("orders", 1)


def test_what_a_failed_record_sent_is_forgotten(out):
    begin(out, 7)
    out.send("totals", "kept")
    mark = out.mark()
    begin(out, 8)
    out.send("totals", "lost")
    out.cut(mark)
    begin(out, 8)
    out.send("totals", "sent again")
    records = out.take()
    assert [record.value for record in records] == [b"kept", b"sent again"]
    assert sources(records)[1][3:] == ("8", "0")


def test_outputs_are_taken_once(out):
    begin(out, 7)
    out.send("totals", 1)
    assert len(out.take()) == 1
    assert out.take() == []


def test_what_is_refused_is_taken_once_and_cut_with_the_rest(out):
    first, second = ValueError("first"), ValueError("second")
    out.begin_batch([7, 9, 12])
    out.refuse(2, second)
    out.refuse(0, first)
    assert out.refused == {0: first, 2: second}
    assert out.take_refused() == {0: first, 2: second}
    assert out.take_refused() == out.refused == {}
    out.refuse(1, first)
    out.cut(out.mark())
    assert out.take_refused() == out.refused == {}


def test_what_is_refused_can_only_be_read(out):
    out.begin_batch([7])
    with pytest.raises(TypeError):
        out.refused[0] = ValueError()


@pytest.mark.parametrize("position", [-1, 3, None, 1.0])
def test_only_records_of_the_batch_can_be_refused(out, position):
    out.begin_batch([7, 9, 12])
    with pytest.raises(OutputError, match=r"out\.refuse needs the position"):
        out.refuse(position, ValueError())
    begin(out, 7)
    with pytest.raises(OutputError, match="in process, raise the error"):
        out.refuse(0, ValueError())


@pytest.mark.parametrize("error", ["text", ValueError, None, SystemExit(), KeyboardInterrupt()])
def test_a_record_is_refused_with_an_exception(out, error):
    out.begin_batch([7])
    with pytest.raises(OutputError, match=r"out\.refuse needs an exception, not"):
        out.refuse(0, error)
    assert not out.refused


class Model(RuleBasedStateMachine):
    """An outbox beside a plain list."""

    @initialize()
    def begin(self) -> None:
        self.out = Outbox("plugin", TopicPartition("in", 0), NO_WRITERS)
        self.expected: list[bytes | None] = []
        self.marks: list[int] = []
        self.offset = 0

    @rule(value=st.binary(), key=st.none() | st.binary(), headers=st.lists(st.tuples(st.text("ab"), st.binary())))
    def send(self, value: bytes, key: bytes | None, headers: list[tuple[str, bytes]]) -> None:
        begin(self.out, self.offset)
        self.offset += 1
        self.out.send("out", value, key=key, headers=headers)
        self.expected.append(value)

    @rule(value=st.none() | st.binary())
    def add(self, value: bytes | None) -> None:
        self.out.add(OutputRecord("letters", b"key", value, (("a", None), ("b", b"c"))))
        self.expected.append(value)

    @rule()
    def fail_to_send(self) -> None:
        with pytest.raises(OutputError):
            self.out.send("out", object())

    @rule()
    def mark(self) -> None:
        self.marks.append(self.out.mark())

    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        if self.marks:
            mark = data.draw(st.sampled_from(self.marks))
            self.out.cut(mark)
            del self.expected[mark:]
            self.marks = [other for other in self.marks if other <= mark]

    @rule()
    def take(self) -> None:
        size, taken = self.out.size, self.out.take()
        assert [record.value for record in taken] == self.expected
        assert size == rough_size(taken)
        self.expected, self.marks = [], []
        assert self.out.size == 0

    @invariant()
    def as_many_as_expected(self) -> None:
        assert len(self.out) == len(self.expected)


TestModel = Model.TestCase
