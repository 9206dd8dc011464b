"""Avro, by fastavro."""

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any, ClassVar, Final

import fastavro

from framework import UsageError
from framework.formats import Part
from framework.formats.recursion import reader_for
from framework_schemaregistry.base import Decode, RegistryFormat
from framework_schemaregistry.framing import HEAD_SIZE
from framework_schemaregistry.options import RegistryOptions
from framework_schemaregistry.own import OwnSchema, read_schema_file
from framework_schemaregistry.registry import StoredSchema

__all__ = ["RegistryAvro"]

_WRAPPER: Final = "FrameworkSchemaRegistryValue"


class RegistryAvro(RegistryFormat):
    """Avro. With the option `reader_schema`, values of each writer's schema are read in that one."""

    name: ClassVar = "sr-avro"
    kind: ClassVar = "AVRO"

    def __init__(self, options: RegistryOptions, part: Part, topic: str | None = None) -> None:
        super().__init__(options, part, topic)
        self._reader = None if options.reader_schema is None else _load(options.reader_schema)

    def _decoder(self, schema: StoredSchema) -> Decode:
        named: dict[str, Any] = {}
        for text in schema.references.values():
            fastavro.parse_schema(json.loads(text), named_schemas=named)
        written = json.loads(schema.text)
        reader = None if self._reader is None or self._reader == written else self._reader
        if _is_record(written) and (reader is None or _is_record(reader)):
            parsed = _parsed(written, named)
            return _decoding(parsed, reader and _parsed(reader))
        # fastavro would parse another schema again for each value. As a record's only field, it has the same bytes.
        parsed = _parsed(_wrapped(written), named)
        decode = _decoding(parsed, reader and _parsed(_wrapped(reader)))
        return lambda data: decode(data)["value"]

    def _read_own(self, file: str) -> OwnSchema:
        text = read_schema_file(file)
        raw = _load(file)
        schema = fastavro.parse_schema(raw)
        record = schema.get("name") if isinstance(schema, dict) else None

        def encode(head: bytes, value: Any) -> bytes:
            stream = BytesIO(head)
            stream.seek(HEAD_SIZE)
            try:
                # A field that the schema does not have would be lost, unless it is refused.
                fastavro.schemaless_writer(stream, schema, value, strict_allow_default=True)
            except Exception as error:  # fastavro raises what its parts raise
                raise ValueError(_told(error)) from error
            return stream.getvalue()

        return OwnSchema(text, record, encode)


def _decoding(writer: Any, reader: Any) -> Decode:
    read_by_size = reader_for(writer.get("__named_schemas", {}))

    def decode(data: bytes) -> Any:
        stream = BytesIO(data)
        stream.seek(HEAD_SIZE)
        try:
            value = read_by_size(len(data) - HEAD_SIZE)(stream, writer, reader)
        except Exception as error:  # fastavro raises what its parts raise: EOFError, IndexError, struct.error, …
            raise ValueError(_reason(error, data)) from error
        if stream.tell() != len(data):
            raise ValueError(f"{len(data) - stream.tell()} bytes follow the value of the schema {_id(data)}")
        return value

    return decode


def _id(data: bytes) -> int:
    return int.from_bytes(data[1:HEAD_SIZE], "big")


def _reason(error: Exception, data: bytes) -> str:
    if isinstance(error, EOFError):
        return f"the bytes end before the value of the schema {_id(data)} does"
    if isinstance(error, RecursionError):
        return "nested too deep"
    return f"the bytes do not fit the schema {_id(data)}: {_told(error)}"


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _is_record(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "record"


def _wrapped(schema: Any) -> dict[str, Any]:
    return {"type": "record", "name": _WRAPPER, "fields": [{"name": "value", "type": schema}]}


def _parsed(schema: Any, named: dict[str, Any] | None = None) -> Any:
    return fastavro.parse_schema(schema, named_schemas={} if named is None else named)


def _load(file: str) -> Any:
    try:
        schema = json.loads(read_schema_file(file))
        fastavro.parse_schema(schema)
    except UsageError:
        raise
    except Exception as error:  # of JSON, or of Avro
        raise UsageError(f"the Avro schema {file} cannot be used: {_told(error)}") from error
    return schema
