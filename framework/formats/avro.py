"""Avro without a header, by fastavro: each value is the bytes of one datum."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any, ClassVar

from pydantic import Field

from framework.borders import describe, is_plugin_failure
from framework.errors import UsageError
from framework.formats import Format, FormatOptions, Part
from framework.formats.framing import framing_hint

__all__ = ["Avro", "AvroOptions"]

try:
    import fastavro
    from fastavro.schema import load_schema

    from framework.formats.recursion import reader_for
except ImportError as error:
    raise UsageError("the format avro needs fastavro; run: pip install 'framework[avro]'") from error


class AvroOptions(FormatOptions):
    """The schemas of the values."""

    writer_schema: str = Field(description="File with the schema (.avsc) in which the bytes are written")
    reader_schema: str | None = Field(
        default=None,
        description="File with the schema in which the values are read; the default is the writer's schema",
    )


class Avro(Format):
    """One Avro datum, of the schema in a file."""

    name: ClassVar = "avro"
    Options: ClassVar = AvroOptions

    def __init__(self, options: AvroOptions, part: Part, topic: str | None = None) -> None:
        super().__init__(options, part, topic)
        named: dict[str, Any] = {}
        self._schema = _load(options.writer_schema, named)
        self._reader_schema = None if options.reader_schema is None else _load(options.reader_schema, {})
        self._reader_for = reader_for(named)

    def read(self, data: bytes) -> Any:
        stream = BytesIO(data)
        try:
            value = self._reader_for(len(data))(stream, self._schema, self._reader_schema)
        except Exception as error:  # fastavro raises what its parts raise: EOFError, IndexError, struct.error, …
            raise ValueError(f"{_reason(error)}{framing_hint(data)}") from error
        if stream.tell() != len(data):
            raise ValueError(f"{len(data) - stream.tell()} bytes follow the value{framing_hint(data)}")
        return value

    def read_column(self, column: Sequence[bytes | None]) -> Sequence[Any]:
        read = self.read
        return [None if data is None else read(data) for data in column]

    def write(self, value: Any) -> bytes:
        stream = BytesIO()
        try:
            # A field that the schema does not have would be lost, unless it is refused.
            fastavro.schemaless_writer(stream, self._schema, value, strict_allow_default=True)
        except BaseException as error:
            if not is_plugin_failure(error):
                raise
            raise ValueError(describe(error)) from error
        return stream.getvalue()


def _reason(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "the bytes end early"
    return "nested too deep" if isinstance(error, RecursionError) else describe(error)


def _load(file: str, named: dict[str, Any]) -> Any:
    try:
        return load_schema(file, named_schemas=named)
    except Exception as error:  # of the file, of JSON, or of Avro
        raise UsageError(f"the Avro schema {file} cannot be used: {describe(error)}") from error
