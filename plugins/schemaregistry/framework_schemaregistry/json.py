"""JSON, by msgspec. Values are not checked against their schema."""

import json
from collections.abc import Mapping
from typing import ClassVar

from framework import UsageError
from framework.formats import FormatOptions, Part
from framework.formats.json import Json, JsonDecimal
from framework_schemaregistry.base import Decode, RegistryFormat
from framework_schemaregistry.framing import HEAD_SIZE
from framework_schemaregistry.options import RegistryOptions
from framework_schemaregistry.own import OwnSchema, read_schema_file
from framework_schemaregistry.registry import StoredSchema

__all__ = ["RegistryJson"]


class RegistryJson(RegistryFormat):
    """JSON. The registry must have the schema, but values are read whether or not they fit it."""

    name: ClassVar = "sr-json"
    kind: ClassVar = "JSON"

    def __init__(self, options: RegistryOptions, part: Part, topic: str | None = None) -> None:
        self._json = (JsonDecimal if options.decimals else Json)(FormatOptions(), part)
        super().__init__(options, part, topic)

    def _decoder(self, schema: StoredSchema) -> Decode:
        read = self._json.read
        return lambda data: read(data[HEAD_SIZE:])

    def _read_own(self, file: str) -> OwnSchema:
        text = read_schema_file(file)
        try:
            schema = json.loads(text)
        except ValueError as error:
            raise UsageError(f"the JSON schema {file} cannot be used: {error}") from error
        title = schema.get("title") if isinstance(schema, Mapping) else None
        write = self._json.write
        return OwnSchema(text, title, lambda head, value: head + write(value))
