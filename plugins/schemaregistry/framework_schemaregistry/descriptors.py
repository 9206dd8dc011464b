"""Message types of Protocol Buffers, from what a registry keeps of them: text, or a descriptor in base64."""

import base64
import binascii
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

from framework_schemaregistry.proto_text import parse_proto

__all__ = ["MessageTypes"]

_ROOT: Final = "schema-of-the-registry.proto"
_COMMON: Final = (
    *(
        f"google.protobuf.{name}_pb2"
        for name in ("any", "api", "descriptor", "duration", "empty", "field_mask", "source_context", "struct")
    ),
    *(f"google.protobuf.{name}_pb2" for name in ("timestamp", "type", "wrappers")),
    "confluent_kafka.schema_registry.confluent.meta_pb2",
    "confluent_kafka.schema_registry.confluent.types.decimal_pb2",
    "confluent_kafka.schema_registry.confluent.type.decimal_pb2",
)
"""Modules of files that schemas may import although the registry does not have them."""


@dataclass(frozen=True)
class MessageTypes:
    """The types of one schema."""

    file: FileDescriptor

    @classmethod
    def of(cls, schema: str, references: Mapping[str, str]) -> "MessageTypes":
        """Raises any exception for a schema that cannot be used."""
        files = {name: _file(text, name) for name, text in references.items()}
        files[_ROOT] = _file(schema, _ROOT)
        pool = descriptor_pool.DescriptorPool()
        added: set[str] = set()
        for name in files:
            _add(pool, name, files, added)
        return cls(pool.FindFileByName(_ROOT))

    def at(self, indexes: Sequence[int]) -> list[Descriptor]:
        """The types that a list of message indexes may mean; none if it means none.

        Serializers disagree whether the types of a map's entries, which are not written in the schema, count too.
        """
        found: list[Descriptor] = []
        for with_entries in (False, True):
            message = self._at(indexes, with_entries)
            if message is not None and message not in found:
                found.append(message)
        return found

    def _at(self, indexes: Sequence[int], with_entries: bool) -> Descriptor | None:
        message, inner = None, [*self.file.message_types_by_name.values()]
        for index in indexes:
            if not 0 <= index < len(inner):
                return None
            message = inner[index]
            inner = [each for each in message.nested_types if with_entries or not _is_entry(each)]
        return None if message is None or _is_entry(message) else message

    def indexes_of(self, name: str) -> tuple[int, ...]:
        """Where the type with this full name stands, as `at` finds it. Raises `KeyError`."""
        for indexes, message in _walk(self.file.message_types_by_name.values(), ()):
            if message.full_name == name:
                return indexes
        raise KeyError(name)

    def names(self) -> list[str]:
        """The full names of all types, in the order of the schema."""
        return [message.full_name for _, message in _walk(self.file.message_types_by_name.values(), ())]


def _walk(messages: Any, at: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], Descriptor]]:
    for index, message in enumerate(each for each in messages if not _is_entry(each)):
        yield (*at, index), message
        yield from _walk(message.nested_types, (*at, index))


def _is_entry(message: Descriptor) -> bool:
    return bool(message.GetOptions().map_entry)


def _file(schema: str, name: str) -> FileDescriptorProto:
    try:
        file = FileDescriptorProto.FromString(base64.b64decode(schema, validate=True))
    except (binascii.Error, ValueError, DecodeError):
        return parse_proto(schema, name)
    file.name = name
    return file


def _add(pool: Any, name: str, files: Mapping[str, FileDescriptorProto], added: set[str]) -> None:
    """Add a file to the pool after those that it imports. Imports that nobody has may be of options only: without."""
    if name in added:
        return
    added.add(name)
    file = files[name] if name in files else _common_file(name)
    kept = FileDescriptorProto()
    kept.CopyFrom(file)
    del kept.dependency[:], kept.public_dependency[:], kept.weak_dependency[:]
    for index, dependency in enumerate(file.dependency):
        if dependency in files or _has_common(dependency):
            _add(pool, dependency, files, added)
            if index in file.public_dependency:
                kept.public_dependency.append(len(kept.dependency))
            kept.dependency.append(dependency)
    pool.AddSerializedFile(kept.SerializeToString())


def _common_file(name: str) -> FileDescriptorProto:
    file = FileDescriptorProto()
    descriptor_pool.Default().FindFileByName(name).CopyToProto(file)
    return file


@cache
def _load_common() -> None:
    """Put the files of `_COMMON` into protobuf's default pool, as their modules do when they are imported."""
    for module in _COMMON:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError:  # confluent-kafka moves its own; a schema that needs it is refused then
            continue


def _has_common(name: str) -> bool:
    _load_common()
    try:
        descriptor_pool.Default().FindFileByName(name)
    except KeyError:
        return False
    return True
