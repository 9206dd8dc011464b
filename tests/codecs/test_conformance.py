"""The built-in codecs pass the kit, and the kit finds codecs that break the contract."""

import pickle
from typing import Any

import pytest

from framework.codecs import Codec
from framework.codecs.json import JsonCodec
from framework.codecs.msgpack import MsgpackCodec
from framework.testing import CodecConformance


class TestJson(CodecConformance):
    @pytest.fixture
    def codec(self) -> Codec:
        return JsonCodec()


class TestMsgpack(CodecConformance):
    @pytest.fixture
    def codec(self) -> Codec:
        return MsgpackCodec()


class Pickle(Codec):
    """Keeps any type, which the contract forbids, and raises whatever pickle raises."""

    name = "pickle"

    def encode(self, value: Any) -> bytes:
        return pickle.dumps(value)

    def decode(self, data: bytes) -> Any:
        return pickle.loads(data)  # noqa: S301


def test_breaches_are_found() -> None:
    kit, codec = CodecConformance(), Pickle()
    for check in (
        lambda: kit.test_other_types_are_refused(codec, len),
        lambda: kit.test_nan_is_refused_as_a_key_and_as_an_element(codec, float("nan")),
        lambda: kit.test_a_container_at_two_places_is_refused(codec, lambda inner: [inner, inner]),
        lambda: kit.test_a_value_that_contains_itself_is_refused(codec),
    ):
        with pytest.raises(pytest.fail.Exception):
            check()
    with pytest.raises(Exception) as raised:  # noqa: PT011 - which one is pickle's own choice
        kit.test_damaged_bytes_are_a_codec_error_if_anything(codec)
    assert not isinstance(raised.value, AssertionError)


def test_the_codec_must_be_given() -> None:
    with pytest.raises(NotImplementedError, match="fixture `codec`"):
        CodecConformance.codec.__wrapped__(CodecConformance())  # type: ignore[attr-defined]
