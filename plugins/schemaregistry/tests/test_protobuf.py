"""Protocol Buffers whose schemas are in a registry."""

import base64
from typing import Any, ClassVar

import pytest
import pytest_asyncio
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from framework_schemaregistry.descriptors import MessageTypes
from framework_schemaregistry.indexes import encode_indexes, read_indexes
from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from framework import UsageError
from framework.testing import FormatConformance

TEXT = """\
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "buf/validate/validate.proto"; // only for options

option java_package = "com.example.shop";

/* An order; "quoted" } */
message Order {
  option (buf.validate.message) = { rule: [{ id: "a;b" }] };
  message Line {
    int32 quantity = 1 [deprecated = true, (buf.validate.field).int32.gt = 0];
  }
  enum State {
    option allow_alias = true;
    NEW = 0;
    OPEN = 0x0;
    PAID = 1 [(label) = "paid, \\"in full\\""];
  }
  string customer = 1;
  sint64 cents = 2 [json_name = "c"];
  map<string, Line> by_name = 3;
  repeated Line lines = 4;
  State state = 5;
  oneof by { string card = 6; Voucher voucher = 7; }
  optional int32 rebate = 8;
  google.protobuf.Timestamp at = 9;
  reserved 20 to max;
  reserved "old";
  message Last { bool yes = 1; }
  repeated int32 numbers = 10 [packed = false];
}
message Voucher { .shop.Order.State state = 1; bytes code = 2; }
service Shop { rpc Buy(Order) returns (Voucher) { option (x) = { y: 1 }; } }
"""
TYPES = MessageTypes.of(TEXT, {})
IN_VALUES = SerializationContext("orders", MessageField.VALUE)
HEAD = b"\x00\x00\x00\x00\x01"


def kind(name):
    return message_factory.GetMessageClass(TYPES.file.pool.FindMessageTypeByName(name))


Order, Voucher, Line = kind("shop.Order"), kind("shop.Voucher"), kind("shop.Order.Line")
ORDER = Order(
    customer="a",
    cents=-150,
    by_name={"x": Line(quantity=3)},
    lines=[Line(quantity=1)],
    state=1,
    card="4711",
    rebate=0,
    at={"seconds": 5},
    numbers=[1, 2],
)
DATA = HEAD + b"\x00" + ORDER.SerializeToString(deterministic=True)


@pytest.fixture
def schema_file(tmp_path):
    def write(text=TEXT):
        (tmp_path / "order.proto").write_text(text)
        return str(tmp_path / "order.proto")

    return write


@pytest_asyncio.fixture
async def opened(make, schema_file):
    return await make("sr-protobuf", "orders", schema_file=schema_file('syntax = "proto3"; message M { int32 n = 1; }'))


class TestProtobuf(FormatConformance):
    kind: ClassVar = message_factory.GetMessageClass(
        MessageTypes.of('syntax = "proto3"; message M { int32 n = 1; }', {}).file.message_types_by_name["M"]
    )
    samples: ClassVar = [(HEAD + b"\x00\x08\x07", {"n": 7})]
    bad: ClassVar = [b"", HEAD, HEAD + b"\x00\x08", HEAD + b"\x00\x0a\x01x", HEAD + b"\x02\x02", HEAD + b"\x80", b"{}"]
    unwritable: ClassVar = [{"typo": 1}, {"n": "x"}, "text", None, Timestamp()]

    @pytest.fixture
    def form(self, opened):
        return _AsDicts(opened)


class _AsDicts:
    """Messages of classes of their own are never equal, so the kit compares dicts."""

    is_mutable = True

    def __init__(self, form):
        self._form = form
        self.write = form.write

    def read(self, data):
        return MessageToDict(self._form.read(data))

    def read_column(self, column):
        return [None if each is None else MessageToDict(each) for each in self._form.read_column(column)]


async def read(form, data):
    missing = form.missing([data])
    if missing is not None:
        await missing
    return form.read(data)


def test_the_text_of_a_schema_is_understood():
    assert TYPES.names() == ["shop.Order", "shop.Order.Line", "shop.Order.Last", "shop.Voucher"]
    assert Order.FromString(ORDER.SerializeToString()) == ORDER
    assert ORDER.HasField("rebate")
    assert ORDER.WhichOneof("by") == "card"
    assert MessageToDict(ORDER)["c"] == "-150"
    assert Order(numbers=[1, 2]).SerializeToString() == b"\x50\x01\x50\x02"


def test_proto2_has_defaults_and_required_fields():
    text = r"""
        package old; // proto2
        message M {
            required int32 n = 1;
            optional string s = 2 [default = "a\"\n" 'b'];
            optional bytes b = 3 [default = "\001\xff"];
            optional double d = 4 [default = -1.5e-3];
            optional E e = 5 [default = TWO];
            optional sfixed32 i = 6 [default = -017];
            extensions 100 to 199;
            extend M { optional int32 more = 100; }
        }
        extend M { optional int32 other = 101; };
        enum E { ONE = 1; TWO = 2; MINUS = -1; }
    """
    message: Any = message_factory.GetMessageClass(MessageTypes.of(text, {}).file.message_types_by_name["M"])()
    assert (message.s, message.b, message.d, message.e) == ('a"\nb', b"\x01\xff", -0.0015, 2)
    assert not message.IsInitialized()


@pytest.mark.parametrize(
    "text",
    [
        "message M {",
        "message M { int32 n = x; }",
        "message M { Unknown n = 1; }",
        'syntax = "proto9";',
        'edition = "2023";',
        "message M { optional group G = 1 {} }",
        "message M { int32 n = 1; int32 m = 1; }",
        "message M # { }",
        "syntax = proto3;",
    ],
)
async def test_text_that_is_no_schema_makes_bad_records(make, registry, text):
    registry.add("orders-value", text, "PROTOBUF")
    form = await make("sr-protobuf")
    with pytest.raises(ValueError, match=r"schema 1: the Schema Registry .* has one that cannot be used"):
        await read(form, DATA)


@pytest.mark.parametrize("as_text", [True, False])
async def test_a_registry_may_give_text_or_a_descriptor(make, registry, as_text):
    file = FileDescriptorProto()
    TYPES.file.CopyToProto(file)
    schema = TEXT if as_text else base64.b64encode(file.SerializeToString()).decode()
    registry.add("orders-value", schema, "PROTOBUF")
    message = await read(await make("sr-protobuf"), DATA)
    assert message.DESCRIPTOR.full_name == "shop.Order"
    assert MessageToDict(message) == MessageToDict(ORDER)


@pytest.mark.parametrize("value", [ORDER, Voucher(code=b"x"), Line(quantity=2)])
async def test_what_confluents_serializer_writes_is_read(make, client, value):
    serializer = ProtobufSerializer(type(value), client)
    data = serializer(value, IN_VALUES)
    form = await make("sr-protobuf", message=value.DESCRIPTOR.full_name)
    assert MessageToDict(await read(form, data)) == MessageToDict(value)


async def test_confluents_deserializer_reads_what_is_written(make, registry, schema_file):
    for value in (ORDER, Voucher(code=b"x")):
        form = await make("sr-protobuf", "orders", schema_file=schema_file(), message=value.DESCRIPTOR.full_name)
        deserializer = ProtobufDeserializer(type(value), {"use.deprecated.format": False})
        assert deserializer(form.write(value), IN_VALUES) == value
        assert form.write(MessageToDict(value)) == form.write(value)


async def test_nested_types_behind_a_map_may_be_meant_by_two_counts(make, registry, schema_file):
    registry.add(
        "orders-value",
        'syntax = "proto3"; message M { map<int32, int32> m = 1; message A {} message B {} }',
        "PROTOBUF",
    )
    data = HEAD + encode_indexes([0, 1])
    with pytest.raises(
        ValueError, match=r"a message M\.B or M\.A, as serializers count maps differently; set the option"
    ):
        await read(await make("sr-protobuf"), data)
    for name in ("M.A", "M.B"):
        assert (await read(await make("sr-protobuf", message=name), data)).DESCRIPTOR.full_name == name
    assert (await read(await make("sr-protobuf"), HEAD + encode_indexes([0, 2]))).DESCRIPTOR.full_name == "M.B"
    assert (await read(await make("sr-protobuf"), HEAD + encode_indexes([0, 0]))).DESCRIPTOR.full_name == "M.A"


async def test_schemas_may_refer_to_others(make, registry):
    registry.add("voucher", 'syntax = "proto3"; package a; message V { int32 n = 1; }', "PROTOBUF")
    registry.add(
        "middle",
        'syntax = "proto3"; import public "a/v.proto";',
        "PROTOBUF",
        [{"name": "a/v.proto", "subject": "voucher", "version": 1}],
    )
    schema_id = registry.add(
        "orders",
        'syntax = "proto3"; import "m.proto"; message O { a.V v = 1; }',
        "PROTOBUF",
        [{"name": "m.proto", "subject": "middle", "version": 1}],
    )
    message = await read(await make("sr-protobuf"), b"\x00\x00\x00\x00" + bytes([schema_id]) + b"\x00\x0a\x02\x08\x05")
    assert MessageToDict(message) == {"v": {"n": 5}}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (HEAD + b"\x02\x12", r"no message at \[9\], only shop\.Order, "),
        (HEAD + b"\x02\x02", r"this is a message shop\.Voucher, not shop\.Order$"),
        (HEAD + b"\x02\x01", r"no message at \[-1\]"),
        (HEAD + b"\x01", "-1 message indexes cannot be"),
        (HEAD + b"\xff\xff\xff\xff\xff\xff", "end early or are too large"),
        (DATA[:-1], "the bytes are not a message shop.Order"),
        (HEAD + b"\x00\x08\x05", "message of another type than shop.Order: field 1 has another type"),
    ],
)
async def test_bytes_that_are_no_such_message_are_told(make, registry, data, says):
    registry.add("orders-value", TEXT, "PROTOBUF")
    with pytest.raises(ValueError, match=says):
        await read(await make("sr-protobuf", message="shop.Order"), data)


@pytest.mark.parametrize("indexes", [(0,), (1,), (0, 0), (5, 63, 64, 10_000), (1_000_000,)])
def test_indexes_are_read_as_they_are_written(indexes):
    data = encode_indexes(indexes)
    assert read_indexes(b"xx" + data + b"yy", 2) == (indexes, 2 + len(data))


async def test_a_schema_of_ones_own_that_cannot_be_used_is_told(make, schema_file):
    with pytest.raises(UsageError, match=r"the Protocol Buffers schema .*order\.proto cannot be used: .*ends early"):
        await make("sr-protobuf", "sent", schema_file=schema_file("message M {"))
    with pytest.raises(UsageError, match=r"no message shop\.Odrer in .*order\.proto, only shop\.Order, "):
        await make("sr-protobuf", "sent", schema_file=schema_file(), message="shop.Odrer")
