"""JSON, typed and untyped, and what is written as JSON."""

import dataclasses
import datetime
import json
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.errors import UsageError
from framework.formats import Format, FormatOptions
from framework.formats.json import Json, JsonDecimal, JsonType, TypedJson, to_json
from framework.testing import FormatConformance

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class Order(msgspec.Struct):
    customer: str
    amount: Decimal
    tags: list[str] = []


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Named(TypedDict):
    name: str


def typed(kind: Any, *, decimals: bool = False) -> TypedJson:
    return TypedJson(JsonType(kind, decimals), "value")


BAD = [
    b"",
    b"{",
    b'{"a": ',
    b"1 2",
    b"NaN",
    b"[Infinity]",
    b'"\xff"',
    '{"a": 1}'.encode("utf-16"),
    b"[" * 10_000 + b"]" * 10_000,
    b"9" * 5000,
    b"\x00\x00\x00\x00\x01{}",
]


class TestJson(FormatConformance):
    samples = [
        (b'{"a": [1, 2.5, null, true, "x"]}', {"a": [1, 2.5, None, True, "x"]}),
        (b"9" * 400, int("9" * 400)),
        (b'"gr\xc3\xbcn"', "grün"),
    ]
    bad = [*BAD, b"1e400"]
    unwritable = [object(), float("nan"), {"a": float("inf")}, b"x", {1, 2}, Decimal("NaN")]

    @pytest.fixture
    def form(self) -> Format:
        return Json(FormatOptions(), "value")


class TestJsonDecimal(FormatConformance):
    samples = [(b'{"a": [1, "x"]}', {"a": [1, "x"]})]
    bad = [*BAD, b"1e99999999999999999999"]

    @pytest.fixture
    def form(self) -> Format:
        return JsonDecimal(FormatOptions(), "value")


class TestTyped(FormatConformance):
    samples = [
        (b'{"customer": "a", "amount": 1.50}', Order("a", Decimal("1.50"))),
        (b'{"amount": "2.5", "customer": "b", "tags": ["x"], "unknown": [1]}', Order("b", Decimal("2.5"), ["x"])),
    ]
    bad = [
        *BAD,
        b"[]",
        b"null",
        b'{"customer": "a"}',
        b'{"customer": 1, "amount": 1}',
        b'{"customer": "", "amount": "NA"}',
    ]

    @pytest.fixture
    def form(self) -> Format:
        return typed(Order)


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        (Point, b'{"x": 1}', Point(1)),
        (Named, b'{"name": "a", "more": 1}', {"name": "a"}),
        (int, b"5", 5),
        (dict[str, list[int]], b'{"a": [1]}', {"a": [1]}),
        (Any, b"[1.5]", [1.5]),
        (str | None, b"null", None),
        (datetime.datetime, b'"2024-05-01T12:00:00Z"', datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)),
    ],
)
def test_types_that_json_can_have(kind: Any, data: bytes, value: object) -> None:
    assert typed(kind).read(data) == value
    assert typed(kind).read_column([data, None]) == [value, None]


@pytest.mark.parametrize(
    ("kind", "data", "says"),
    [
        (Order, b'{"customer": "a", "amount": "x"}', r"Invalid decimal string - at `\$\.amount`"),
        (Order, b'{"customer": "a"}', "missing required field `amount`"),
        (dict[str, list[int]], b'{"a": [1, "2"]}', r"Expected `int`, got `str` - at `\$\[\.\.\.\]\[1\]`"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_path(kind: Any, data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        typed(kind).read(data)


class Strange:
    pass


class Holder(msgspec.Struct):
    strange: list[Strange]
    again: "Holder | None" = None


@pytest.mark.parametrize("kind", [Strange, dict[str, Strange], Holder, 5, complex, list["Nowhere"]])  # type: ignore[name-defined]  # noqa: F821
def test_what_is_no_type_of_json_is_refused_when_it_is_declared(kind: Any) -> None:
    with pytest.raises(UsageError, match="is not a type that JSON can have"):
        JsonType(kind)


def test_a_format_names_its_type() -> None:
    assert str(typed(Order)) == "json of Order"
    assert str(typed(dict[str, int])) == "json of dict[str, int]"
    assert str(Json(FormatOptions(), "key")) == "json"


def test_decimals_where_the_type_says_any() -> None:
    assert repr(typed(dict[str, Any], decimals=True).read(b'{"a": 1.50}')) == "{'a': Decimal('1.50')}"
    assert typed(dict[str, Any]).read(b'{"a": 1.50}') == {"a": 1.5}


def test_plain_values_cannot_be_changed_in_place() -> None:
    assert not typed(int).is_mutable
    assert typed(Order).is_mutable


def test_a_framed_value_is_told_with_the_format_that_reads_it() -> None:
    with pytest.raises(ValueError, match=r"Schema Registry framing, schema id 7: read them in the format sr-avro"):
        Json(FormatOptions(), "value").read(b"\x00\x00\x00\x00\x07\x02a")


@given(VALUES)
def test_json_reads_what_python_writes(value: Any) -> None:
    assert Json(FormatOptions(), "value").read(json.dumps(value).encode()) == value


@given(VALUES)
def test_what_is_written_is_what_python_reads(value: Any) -> None:
    assert json.loads(to_json(value)) == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"a": Decimal("1.50")}, b'{"a":"1.50"}'),
        (Order("a", Decimal(1)), b'{"customer":"a","amount":"1","tags":[]}'),
        (Point(1, 2), b'{"x":1,"y":2}'),
        ([uuid.UUID(int=1)], b'["00000000-0000-0000-0000-000000000001"]'),
        (datetime.date(2024, 5, 1), b'"2024-05-01"'),
        ({1: (2, 3)}, b'{"1":[2,3]}'),
    ],
)
def test_values_beyond_plain_json_are_written(value: object, written: bytes) -> None:
    assert to_json(value) == written


def test_a_mapping_of_another_class_is_refused() -> None:
    class Odd(Mapping[str, int]):
        def __getitem__(self, key: str) -> int:
            return 1

        def __iter__(self) -> Any:
            return iter(["a"])

        def __len__(self) -> int:
            return 1

    with pytest.raises(TypeError):
        to_json(Odd())
