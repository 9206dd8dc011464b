"""Hypothesis strategies for the records that a processor's formats can give. They need hypothesis."""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framework.errors import UsageError
from framework.formats.json import JsonType, TypedJson
from framework.plugins import load
from framework.processor import Options, Processor
from framework.records import Record
from framework.runtime.declarations import declared

__all__ = ["made_up_records", "records_of"]

_text: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def _json(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | numbers | _text
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3), max_leaves=6
    )


_floats: Final = st.floats(allow_nan=False, allow_infinity=False)
_BY_NAME: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "utf8": _text,
    "bytes": st.binary(max_size=12),
    "json": _json(_floats),
    "json-decimal": _json(st.decimals(-(10**9), 10**9, places=2)),
    "int": st.integers(),
    "float": _floats,
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(),
    "uuid": st.uuids(),
    "msgpack": _json(_floats | st.binary(max_size=8)),
    "csv": st.dictionaries(_text, _text, max_size=3),
}


def records_of(
    processor: type[Processor], options: Options | Mapping[str, Any] | None = None
) -> st.SearchStrategy[list[tuple[Any, Any]]]:
    """A strategy for lists of records, pairs of key and value, as the formats of the processor give them.

    Keys repeat, and keys and values may be None. Values of a type are JSON values that fit the type. Raises
    `UsageError` for a format whose values cannot be made up: avro, protobuf and those of plugins.
    """
    made = options if isinstance(options, Options) else processor.Options(**(options or {}))
    keys = st.none() | _values(processor.key_format)
    some = _values(declared(processor, "value_format_of", made))
    values = st.integers(0, 9).flatmap(lambda number: some if number else st.none())
    few = st.lists(keys, min_size=1, max_size=4)
    return few.flatmap(lambda pool: st.lists(st.tuples(st.sampled_from(pool), values), min_size=1, max_size=30))


def made_up_records(processor: type[Processor], options: Options | Mapping[str, Any] | None = None) -> list[Record]:
    """Return some hundred records of one partition, a second apart: the same at each call. Raises as `records_of`."""
    made: list[tuple[Any, Any]] = []

    @settings(database=None, derandomize=True, deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
    @given(records_of(processor, options))
    def collect(records: list[tuple[Any, Any]]) -> None:
        made.extend(records)

    collect()
    return [Record("test", 0, offset, offset * 1000, *pair) for offset, pair in enumerate(made)]


def _values(form: Any) -> st.SearchStrategy[Any]:
    if not isinstance(form, str):
        return _of_type(form if isinstance(form, JsonType) else JsonType(form))
    if form not in _BY_NAME:
        raise UsageError(f"records of the format {form} cannot be made up; give records of your own")
    return _BY_NAME[form]


def _of_type(kind: JsonType) -> st.SearchStrategy[Any]:
    """Values of a type, as they are after JSON: a constraint that hypothesis does not know leaves some out."""
    form = cast(TypedJson, load([]).format(kind, "value"))

    def read(value: Any) -> Any:
        try:
            return form.read(msgspec.json.encode(value))
        except (ValueError, TypeError, OverflowError):
            return _UNFIT

    return _annotated(kind.kind).map(read).filter(lambda value: value is not _UNFIT)


def _annotated(kind: Any) -> st.SearchStrategy[Any]:
    """Values that JSON of this type may be written from; of a struct, a dict of its fields."""
    if kind is Any:
        return st.integers(-1000, 1000) | _floats | _text | _BY_NAME["json"]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and not kind.__struct_config__.tag:
        fields = msgspec.structs.fields(kind)
        required = {field.encode_name: _annotated(field.type) for field in fields if field.required}
        optional = {field.encode_name: _annotated(field.type) for field in fields if not field.required}
        return st.fixed_dictionaries(required, optional=optional)
    return st.from_type(kind)


_UNFIT: Final = object()
