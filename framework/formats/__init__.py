"""Formats: they decode the bytes of a record's key or value, and encode those of outputs.

=============  =======================================================================================
utf8           text
bytes          the bytes, unchanged
json           JSON; a number with a fraction or an exponent is a float
json-decimal   JSON; a number with a fraction or an exponent is a `decimal.Decimal`, for exact sums
int, float     a decimal number as text
int32, int64   Kafka's IntegerSerializer and LongSerializer: big-endian, 4 and 8 bytes
double         Kafka's DoubleSerializer: big-endian IEEE 754, 8 bytes
uuid           a UUID as text, as Kafka's UUIDSerializer writes it
msgpack        MessagePack
csv            one line of a CSV file, as a dict of texts; the option `columns` names the columns
avro           Avro without a header; the option `writer_schema` names the schema file
protobuf       a Protocol Buffers message; options name its descriptor and its type
=============  =======================================================================================

A processor may also name a *type*, such as a `msgspec.Struct`, a dataclass or `dict[str, int]`: its records are then
JSON of that type, see `framework.formats.json`. Plugins bring further formats, by the hook `framework_formats`.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["FORMATS", "Format", "FormatOptions", "Part"]

Part = Literal["key", "value"]


class FormatOptions(BaseModel):
    """Base class of a format's options. Unknown names and invalid values are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Format(ABC):
    """Decodes the keys or the values of records, or encodes those of outputs.

    The runtime makes one instance for each use: the keys, or the values, of a processor's records, and the keys, or the
    values, of the outputs to one topic. It calls all methods in the thread of the event loop, one at a time. `read`,
    `read_column` and `write` must be fast, and must not wait for anything.
    """

    name: ClassVar[str]
    """Its name in `--value-format NAME` and in `value_format`: letters, digits, `.`, `_` and `-`."""

    Options: ClassVar[type[FormatOptions]] = FormatOptions
    """Class of the options that `--value-format-option` and `--key-format-option` set."""

    reads_anything: ClassVar[bool] = False
    """Whether all bytes are valid, and stay unchanged. The runtime then calls neither `read` nor `read_column`."""

    reads_text: ClassVar[bool] = False
    """Whether the format is text in UTF-8. The runtime may then decode keys by itself."""

    is_mutable: bool = True
    """Whether a decoded value may be changed in place. If so, a record that is tried again is decoded again."""

    def __init__(self, options: Any, part: Part, topic: str | None = None) -> None:
        """`options`: an instance of `Options`. `topic`: the topic of the outputs that it encodes; None: it decodes.

        Raises `UsageError` for options that cannot be used, such as a schema file that does not exist.
        """
        self.options = options
        self.part = part
        self.topic = topic

    def __str__(self) -> str:
        """The format in messages."""
        return self.name

    async def open(self) -> None:  # noqa: B027 - a format may go without
        """Called once, before the first record, for example to get a schema. An exception ends the run."""

    async def close(self) -> None:  # noqa: B027 - a format may go without
        """Called once, when the format is no longer used, also after errors and after a failed `open`."""

    def missing(self, column: Sequence[bytes | None]) -> Awaitable[None] | None:
        """Called before a column is decoded: None if all that is needed is at hand, or an awaitable that gets it.

        The awaitable may take as long as it needs, as when a registry of schemas is away: the partition waits, and the
        watchdog reports it. It is cancelled when the partition goes to another worker. An exception ends the
        run. If something does not exist, such as a schema, it raises nothing, and `read` raises `ValueError` then.
        """
        return None

    @abstractmethod
    def read(self, data: bytes) -> Any:
        """Decode one key or value. Raises `ValueError` for bytes that are not of this format: a bad record."""

    def read_column(self, column: Sequence[bytes | None]) -> Sequence[Any]:
        """Decode a whole column of keys or values at once. Nulls stay None.

        Raises any exception if one of them cannot be decoded. The runtime then calls `read` for each one to find it.
        """
        read = self.read
        return [None if data is None else read(data) for data in column]

    def write(self, value: Any) -> bytes:
        """Encode one key or value of an output; not called for None.

        Raises `ValueError`, `TypeError` or `OverflowError` for a value that the format cannot hold, and
        `NotImplementedError` if the format can only read.
        """
        raise NotImplementedError


FORMATS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "utf8": "framework.formats.text:Utf8",
        "bytes": "framework.formats.text:Bytes",
        "json": "framework.formats.json:Json",
        "json-decimal": "framework.formats.json:JsonDecimal",
        "int": "framework.formats.text:Int",
        "int32": "framework.formats.packed:Int32",
        "int64": "framework.formats.packed:Int64",
        "float": "framework.formats.text:Float",
        "double": "framework.formats.packed:Double",
        "uuid": "framework.formats.text:Uuid",
        "msgpack": "framework.formats.msgpack:Msgpack",
        "csv": "framework.formats.csv:Csv",
        "avro": "framework.formats.avro:Avro",
        "protobuf": "framework.formats.protobuf:Protobuf",
    }
)
"""The built-in formats: the module and the class, by the format's name."""
