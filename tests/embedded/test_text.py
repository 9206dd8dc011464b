import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.embedded.text import check_encoding, has_utf16_mark, likely_encoding, utf8_lines
from framework.errors import UsageError

ENCODINGS = ["utf-8", "utf-16", "utf-16-be", "utf-32-le", "shift_jis", "gb18030", "cp1252"]


def pieces(data: bytes) -> list[bytes]:
    """As a file's `readline` gives them."""
    return list(io.BytesIO(data))


@given(st.text(st.characters(codec="utf-8")), st.sampled_from(ENCODINGS))
def test_lines_are_those_of_the_text(text: str, encoding: str) -> None:
    data = text.encode(encoding, errors="ignore")
    readable = data.decode(encoding)
    expected = [line + "\n" for line in readable.split("\n")]
    expected[-1] = expected[-1].removesuffix("\n")
    assert list(utf8_lines(pieces(data), encoding)) == [line.encode() for line in expected if line]


def test_a_text_that_ends_within_a_character_is_refused_after_its_lines() -> None:
    lines = utf8_lines(pieces("a\nb\n".encode("utf-16-le")[:-1]), "utf-16-le")
    assert next(lines) == b"a\n"
    with pytest.raises(UnicodeError):
        next(lines)


@pytest.mark.parametrize("name", ["hex", "no such", "", "a\0b", "undefined"])
def test_what_is_no_text_encoding_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"unknown encoding {name!r}")):
        check_encoding(name)


@pytest.mark.parametrize("name", ["rot13", "base64", "hex"])
def test_what_is_no_text_encoding_is_not_suggested_either(name: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_encoding(name)
    assert f"did you mean {name}" not in str(raised.value)
    assert "codec" not in str(raised.value)


def test_a_misspelled_encoding_is_told_with_the_closest() -> None:
    with pytest.raises(UsageError, match=r"did you mean .*windows-1253"):
        check_encoding("windows-1253x")


@pytest.mark.parametrize(
    ("line", "encoding"),
    [
        (b"plain\n", None),
        ("grün\n".encode(), None),
        ("grün\n".encode("cp1252"), "cp1252"),
        ("a\n".encode("utf-16"), "utf-16"),
        ("a\n".encode("utf-32"), "utf-32"),
        ("\ufeffa\n".encode("utf-32-be"), "utf-32"),
        (b"a\0,\0\n", "utf-16-le"),
        (b"\0a\0,\0\n", "utf-16-be"),
    ],
)
def test_the_encoding_of_a_line_is_guessed(line: bytes, encoding: str | None) -> None:
    assert likely_encoding(line) == encoding


def test_only_utf16_has_its_mark() -> None:
    assert has_utf16_mark("a".encode("utf-16"))
    assert not has_utf16_mark("a".encode("utf-8-sig"))
