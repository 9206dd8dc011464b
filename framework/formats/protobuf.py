"""Protocol Buffers: each value is one message of a type."""

import importlib
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from framework.borders import describe
from framework.errors import UsageError
from framework.formats import Format, FormatOptions, Part
from framework.formats.framing import framing_hint

__all__ = ["Protobuf", "ProtobufOptions", "check_fields"]

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, unknown_fields
    from google.protobuf.message import DecodeError, Message
except ImportError as error:
    raise UsageError("the format protobuf needs protobuf; run: pip install 'framework[protobuf]'") from error


class ProtobufOptions(FormatOptions):
    """The type of the messages, and where it is defined."""

    message: str = Field(description="The type of the messages with its package, such as shop.Order")
    descriptor_set: str | None = Field(
        default=None, description="File that protoc --include_imports --descriptor_set_out=FILE wrote"
    )
    module: str | None = Field(default=None, description="Python module that protoc wrote, such as shop_pb2")


class Protobuf(Format):
    """One message, as an object of protobuf's class for it."""

    name: ClassVar = "protobuf"
    Options: ClassVar = ProtobufOptions

    def __init__(self, options: ProtobufOptions, part: Part, topic: str | None = None) -> None:
        super().__init__(options, part, topic)
        if (options.descriptor_set is None) == (options.module is None):
            raise UsageError("the format protobuf needs either descriptor_set=FILE or module=NAME")
        pool = _of_module(options.module) if options.module else _of_file(str(options.descriptor_set))
        try:
            self._class = message_factory.GetMessageClass(pool.FindMessageTypeByName(options.message))
        except KeyError as error:
            place = options.module or options.descriptor_set
            raise UsageError(f"there is no message {options.message} in {place}; write it with its package") from error

    def read(self, data: bytes) -> Any:
        try:
            message = self._class.FromString(data)
        except DecodeError as error:
            raise ValueError(f"the bytes are not a message {self.options.message}{framing_hint(data)}") from error
        check_fields(message, data)
        return message

    def write(self, value: Any) -> bytes:
        message = value
        if isinstance(value, dict):
            try:
                message = json_format.ParseDict(value, self._class())
            except json_format.ParseError as error:
                raise ValueError(str(error)) from error
        if not isinstance(message, self._class):
            raise TypeError(f"a message {self.options.message} or a dict is needed, not {type(value).__name__}")
        return message.SerializeToString(deterministic=True)


def check_fields(message: Message, data: bytes) -> None:
    """Raises `ValueError` if the bytes look like a message of another type, which Protocol Buffers do not refuse.

    They do if they have no field of this type, but others; or a field of this type, but as another kind of number or
    text. A newer version of the type may have more fields: these are allowed beside known ones.
    """
    unknown = unknown_fields.UnknownFieldSet(message)
    if not len(unknown):
        return
    known = message.DESCRIPTOR.fields_by_number
    numbers = [unknown[place].field_number for place in range(len(unknown))]
    odd = [number for number in numbers if number in known]
    if odd or not message.ListFields():
        what = f"field {odd[0]} has another type there" if odd else "it has none of the fields"
        raise ValueError(
            f"this is a message of another type than {message.DESCRIPTOR.full_name}: {what}{framing_hint(data)}"
        )


def _of_module(name: str) -> Any:
    try:
        return importlib.import_module(name).DESCRIPTOR.pool
    except Exception as error:  # whatever the import raises
        raise UsageError(f"the module {name} of Protocol Buffers cannot be used: {describe(error)}") from error


def _of_file(file: str) -> Any:
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(Path(file).read_bytes())
        pool = descriptor_pool.DescriptorPool()
        for each in files.file:
            pool.Add(each)
    except Exception as error:  # of the file, or of protobuf
        raise UsageError(f"the descriptor set {file} cannot be used: {describe(error)}") from error
    return pool
