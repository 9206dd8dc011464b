"""Formats whose schemas are in a Schema Registry: `sr-avro`, `sr-json` and `sr-protobuf`.

Each value is framed as Confluent's serializers do: a zero byte, four bytes of the schema's id, and the payload.
"""

from collections.abc import Sequence

from framework import hookimpl
from framework.formats import Format
from framework_schemaregistry.avro import RegistryAvro
from framework_schemaregistry.json import RegistryJson
from framework_schemaregistry.options import RegistryOptions
from framework_schemaregistry.protobuf import RegistryProtobuf

__all__ = ["RegistryAvro", "RegistryJson", "RegistryOptions", "RegistryProtobuf", "framework_formats"]


@hookimpl
def framework_formats() -> Sequence[type[Format]]:
    return [RegistryAvro, RegistryJson, RegistryProtobuf]
