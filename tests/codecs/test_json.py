import json
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NoReturn
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given

from framework.codecs.json import JsonCodec
from framework.errors import CodecError
from framework.testing.values import same, values

CODEC = JsonCodec()

WRITTEN: dict[str, Any] = {
    '{"123123": 1}': {"123123": 1},
    '[{"a": 1, "b": null}, ["gone"]]': [{"a": 1, "b": None}, ["gone"]],
    '{"ключ\\n": [true, 0.5, {"a": {}}]}': {"ключ\n": [True, 0.5, {"a": {}}]},
    '{"$dict": [[1, "int"], ["1", "str"]]}': {1: "int", "1": "str"},
    '{"$dict": [[null, 2], ["", 1]]}': {None: 2, "": 1},
    '{"$dict": [[{"$tuple": ["x", 1]}, [1]]]}': {("x", 1): [1]},
    '{"$dict": [["$tuple", [1]]]}': {"$tuple": [1]},
    '{"$tuple": [1], "b": 2}': {"$tuple": [1], "b": 2},
    '{"a": {"$tuple": []}}': {"a": ()},
    '[{"$set": [1]}, {"$frozenset": ["x"]}]': [{1}, frozenset({"x"})],
    '{"$bytes": "AP9hYg=="}': b"\x00\xffab",
    '[{"$float": "nan"}, {"$float": "-inf"}, -0.0]': [float("nan"), float("-inf"), -0.0],
    '{"$decimal": "1.10"}': Decimal("1.10"),
    '{"$uuid": "00000000-0000-0000-0000-000000000001"}': UUID(int=1),
    '{"$date": "2024-02-29"}': date(2024, 2, 29),
    '{"$timedelta": [-1, 86399, 5]}': timedelta(seconds=-1, microseconds=5),
    '{"$datetime": "2024-02-29T12:00:00"}': datetime(2024, 2, 29, 12),
    '{"$datetime": "2024-02-29T12:00:00.000001+00:00"}': datetime(2024, 2, 29, 12, 0, 0, 1, UTC),
    '{"$datetime": "2024-02-29T12:00:00+05:30"}': datetime(2024, 2, 29, 12, tzinfo=timezone(timedelta(minutes=330))),
    '{"$datetime": ["2024-02-29T12:00:00", 0, [{"$timedelta": [0, 3600, 0]}, "MEZ"]]}': datetime(
        2024, 2, 29, 12, tzinfo=timezone(timedelta(hours=1), "MEZ")
    ),
    '{"$datetime": ["2024-10-27T02:30:00", 1, "Europe/Berlin"]}': datetime(
        2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")
    ),
    '{"$str": "YeKAi+2ggA=="}': "a\u200b\ud800",
    '{"$dict": [[{"$str": "7aCA7bCA"}, 1]]}': {"\ud800\udc00": 1},
    f"{2**2048 - 1}": 2**2048 - 1,
    f'[{{"$int": "{2**20_000:#x}"}}]': [2**20_000],
}


@pytest.mark.parametrize("text", WRITTEN)
def test_each_type_is_written_so_that_a_person_can_read_it(text: str) -> None:
    value = WRITTEN[text]
    assert CODEC.encode(value).decode() == text
    assert same(CODEC.decode(text.encode()), value)


def refuse(name: str) -> NoReturn:
    raise AssertionError(f"{name} is not JSON")


@given(value=values())
def test_it_is_one_line_of_strict_json(value: Any) -> None:
    data = CODEC.encode(value)
    json.loads(data.decode(), parse_constant=refuse)
    assert b"\n" not in data


@pytest.fixture
def fewest_digits() -> Iterator[None]:
    """Python reads and writes ints of 640 digits at most, the lowest limit that it allows."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    yield
    sys.set_int_max_str_digits(before)


@pytest.mark.usefixtures("fewest_digits")
@pytest.mark.parametrize("bits", [2047, 2048, 2049, 2130, 50_000])
def test_ints_of_any_size_pass_the_limit_of_digits(bits: int) -> None:
    value = {"a": 2**bits, "b": -(2**bits), 2**bits: "c"}
    assert CODEC.decode(CODEC.encode(value)) == value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Expecting value"),
        (b'{"a": 1', "Expecting ',' delimiter"),
        (b"1 2", "Extra data"),
        (b'"\xff"', "can't decode byte 0xff"),
        (b"\xef\xbb\xbf1", "Expecting value"),
        (b"NaN", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b'{"a": 1, "a": 1}', "a dict has the same key twice"),
        (b'{"$dict": [[1, 2], [1, 3]]}', "a dict has the same key twice"),
        (b'{"$dict": [[1]]}', "has length 1"),
        (b'{"$dict": [[[], 1]]}', "unhashable type"),
        (b'{"$set": [[]]}', "unhashable type"),
        (b'{"$list": []}', "unknown tag \\$list"),
        (b'{"$": 1}', "unknown tag \\$"),
        (b'{"$tuple": "ab"}', "a tuple is not written as a str"),
        (b'{"$bytes": "a"}', "base64|padding"),
        (b'{"$bytes": "*AA="}', "base64"),
        (b'{"$decimal": "one"}', "ConversionSyntax"),
        (b'{"$timedelta": [1e9, 0, 0]}', "must have magnitude"),
        (b'{"$datetime": ["2024-01-01T00:00:00", 0]}', "not enough values"),
        (b'{"$datetime": ["2024-01-01T00:00:00", 0, "Of/Nowhere"]}', "No time zone found with key Of/Nowhere"),
        (b"1" * 5000, "Exceeds the limit"),
    ],
)
def test_what_it_did_not_write_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(CodecError, match=f"^codec json cannot read these {len(data)} bytes: .*(?:{reason})"):
        CODEC.decode(data)
