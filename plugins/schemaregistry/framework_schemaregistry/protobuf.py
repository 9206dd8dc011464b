"""Protocol Buffers. Between the framing and the message stands where the message's type is in the schema."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from framework import UsageError
from framework.formats.protobuf import check_fields
from framework_schemaregistry.base import Decode, RegistryFormat
from framework_schemaregistry.descriptors import MessageTypes
from framework_schemaregistry.framing import HEAD_SIZE
from framework_schemaregistry.indexes import encode_indexes, read_indexes
from framework_schemaregistry.own import OwnSchema, read_schema_file
from framework_schemaregistry.registry import StoredSchema

__all__ = ["RegistryProtobuf"]

_Parse = Callable[[bytes], Any]
_FIRST: Final[tuple[int, ...]] = (0,)


class RegistryProtobuf(RegistryFormat):
    """Protocol Buffers: each value is an object of protobuf's class for its type."""

    name: ClassVar = "sr-protobuf"
    kind: ClassVar = "PROTOBUF"
    fmt: ClassVar = "serialized"  # compiled; some registries give the text all the same

    def _decoder(self, schema: StoredSchema) -> Decode:
        types = MessageTypes.of(schema.text, schema.references)
        parsers: dict[tuple[int, ...], _Parse] = {}

        def decode(data: bytes) -> Any:
            if data[HEAD_SIZE : HEAD_SIZE + 1] == b"\x00":
                indexes, begin = _FIRST, HEAD_SIZE + 1
            else:
                indexes, begin = read_indexes(data, HEAD_SIZE)
            parse = parsers.get(indexes)
            if parse is None:
                parse = self._parser(types, indexes)
                parsers[indexes] = parse
            return parse(data[begin:])

        return decode

    def _parser(self, types: MessageTypes, indexes: Sequence[int]) -> _Parse:
        """Raises `ValueError` if there is no type, not one, or another one than the option `message` says."""
        found = types.at(indexes)
        wanted = self.options.message
        if wanted is not None:
            found = [each for each in found if each.full_name == wanted] or found
        if not found:
            raise ValueError(f"the schema has no message at {[*indexes]}, only {', '.join(types.names())}")
        names = " or ".join(each.full_name for each in found)
        if wanted is not None and found[0].full_name != wanted:
            raise ValueError(f"this is a message {names}, not {wanted}")
        if len(found) > 1:
            raise ValueError(
                f"this is a message {names}, as serializers count maps differently; set the option message"
            )
        return _parsing(found[0])

    def _read_own(self, file: str) -> OwnSchema:
        text = read_schema_file(file)
        try:
            types = MessageTypes.of(text, {})
        except Exception as error:  # of the parser, or of protobuf
            raise UsageError(f"the Protocol Buffers schema {file} cannot be used: {error}") from error
        name = self.options.message or next(iter(types.names()), None)
        try:
            indexes = types.indexes_of(str(name))
        except KeyError as error:
            raise UsageError(f"there is no message {name or ''} in {file}, only {', '.join(types.names())}") from error
        kind: Any = message_factory.GetMessageClass(types.at(indexes)[0])
        place = encode_indexes(indexes)
        return OwnSchema(text, name, lambda head, value: head + place + _message(kind, value))


def _parsing(descriptor: Descriptor) -> _Parse:
    kind = message_factory.GetMessageClass(descriptor)
    from_string = kind.FromString

    def parse(payload: bytes) -> Any:
        try:
            message = from_string(payload)
        except DecodeError as error:
            raise ValueError(f"the bytes are not a message {descriptor.full_name}: {error}") from error
        check_fields(message, payload)
        return message

    return parse


def _message(kind: Any, value: Any) -> bytes:
    """The bytes of a value, which is a message, of protobuf's class or of the module that protoc wrote, or a dict."""
    name = kind.DESCRIPTOR.full_name
    message = value
    if isinstance(value, dict):
        try:
            message = json_format.ParseDict(value, kind())
        except Exception as error:  # ParseError, and what the parts of protobuf raise for odd types
            raise ValueError(f"the value is not a message {name}: {error}") from error
    if not isinstance(message, Message) or message.DESCRIPTOR.full_name != name:
        raise TypeError(f"a message {name} or a dict is needed, not {type(value).__name__}")
    try:
        return message.SerializeToString(deterministic=True)
    except Exception as error:  # EncodeError: a required field is missing
        raise ValueError(f"the message {name} cannot be encoded: {error}") from error
