"""Protocol Buffers."""

from typing import ClassVar

from framework_schemaregistry.base import Decode, RegistryFormat
from framework_schemaregistry.own import OwnSchema
from framework_schemaregistry.registry import StoredSchema

__all__ = ["RegistryProtobuf"]


class RegistryProtobuf(RegistryFormat):
    name: ClassVar = "sr-protobuf"
    kind: ClassVar = "PROTOBUF"

    def _decoder(self, schema: StoredSchema) -> Decode:
        raise NotImplementedError

    def _read_own(self, file: str) -> OwnSchema:
        raise NotImplementedError
