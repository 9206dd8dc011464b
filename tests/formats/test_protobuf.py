"""Protocol Buffers."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool

from framework.errors import UsageError
from framework.formats import Format
from framework.formats.protobuf import Protobuf, ProtobufOptions
from framework.testing import FormatConformance

FIELD = descriptor_pb2.FieldDescriptorProto


def descriptors() -> descriptor_pb2.FileDescriptorSet:
    file = descriptor_pb2.FileDescriptorProto(name="shop.proto", package="shop", syntax="proto3")
    for name, fields in (
        ("Order", [("customer", 1, FIELD.TYPE_STRING), ("amount", 2, FIELD.TYPE_INT64)]),
        ("Stock", [("count", 1, FIELD.TYPE_INT64), ("place", 9, FIELD.TYPE_STRING)]),
        ("Place", [("street", 9, FIELD.TYPE_STRING)]),
        ("NewOrder", [("customer", 1, FIELD.TYPE_STRING), ("currency", 3, FIELD.TYPE_STRING)]),
    ):
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            message.field.add(name=field, number=number, type=kind, label=FIELD.LABEL_OPTIONAL)
    return descriptor_pb2.FileDescriptorSet(file=[file])


def message(name: str, **fields: Any) -> Any:
    pool = DescriptorPool()
    for file in descriptors().file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"shop.{name}"))(**fields)


@pytest.fixture
def options(tmp_path: Path) -> ProtobufOptions:
    file = tmp_path / "shop.desc"
    file.write_bytes(descriptors().SerializeToString())
    return ProtobufOptions(message="shop.Order", descriptor_set=str(file))


def test_a_message_is_read_and_written(options: ProtobufOptions) -> None:
    form = Protobuf(options, "value")
    read = form.read(message("Order", customer="a", amount=5).SerializeToString())
    assert (read.customer, read.amount) == ("a", 5)
    assert form.write(read) == message("Order", customer="a", amount=5).SerializeToString()
    assert form.write({"customer": "a", "amount": 5}) == form.write(read)
    assert form.read_column([form.write(read), None]) == [read, None]
    assert form.read(b"").customer == ""


class TestProtobuf(FormatConformance):
    bad = [b"\xff", b"\x0a\x05ab", b"\x00" * 3]
    unwritable = ["text", {"nothing": 1}, {"customer": 5}, None]

    @pytest.fixture
    def form(self, options: ProtobufOptions) -> Format:
        form = Protobuf(options, "value")
        data = form.write({"customer": "a", "amount": 5})
        self.__class__.samples = [(data, form.read(data))]
        return form


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (message("Stock", count=5), "another type than shop.Order: field 1 has another type"),
        (message("Place", street="x"), "another type than shop.Order: it has none of the fields"),
    ],
)
def test_a_message_of_another_type_is_refused(options: ProtobufOptions, other: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Protobuf(options, "value").read(other.SerializeToString())


def test_a_newer_version_of_the_type_may_have_more_fields(options: ProtobufOptions) -> None:
    data = message("NewOrder", customer="a", currency="EUR").SerializeToString()
    assert Protobuf(options, "value").read(data).customer == "a"


def test_a_message_of_another_class_is_not_written(options: ProtobufOptions) -> None:
    with pytest.raises(TypeError, match=r"a message shop\.Order or a dict is needed"):
        Protobuf(options, "value").write(message("Place", street="x"))


def test_a_module_of_protoc() -> None:
    options = ProtobufOptions(message="google.protobuf.FileDescriptorProto", module="google.protobuf.descriptor_pb2")
    data = descriptors().file[0].SerializeToString()
    assert Protobuf(options, "value").read(data).package == "shop"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"descriptor_set": None}, "either descriptor_set=FILE or module=NAME"),
        ({"module": "json"}, "either descriptor_set=FILE or module=NAME"),
        ({"descriptor_set": None, "module": "nowhere_pb2"}, "the module nowhere_pb2"),
        ({"descriptor_set": "nowhere.desc"}, "the descriptor set nowhere.desc"),
        ({"message": "shop.Nothing"}, "there is no message shop.Nothing"),
    ],
)
def test_options_that_cannot_be_used(options: ProtobufOptions, change: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Protobuf(options.model_copy(update=change), "value")
