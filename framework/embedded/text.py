"""Text encodings of input files: lines of any encoding as lines of UTF-8, and a guess where the bytes are not UTF-8."""

import codecs
from collections.abc import Iterable, Iterator
from encodings.aliases import aliases
from typing import Final

from framework._closest import closest
from framework.errors import UsageError

__all__ = ["check_encoding", "has_utf16_mark", "likely_encoding", "utf8_lines"]

_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF32_MARKS: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
"""The first begins like that of UTF-16."""


def check_encoding(name: str) -> None:
    """Raise `UsageError` where Python knows no text encoding of this name."""
    try:
        _try(name)
    except ValueError as error:
        known = {alias.replace("_", "-") for names in aliases.items() for alias in names if _is_encoding(names[1])}
        hint = closest(name, known)
        raise UsageError(f"unknown encoding {name!r}{hint}; some are utf-8, utf-16, cp1252 and latin-1") from error


def _is_encoding(name: str) -> bool:
    try:
        _try(name)
    except ValueError:
        return False
    return True


def _try(name: str) -> None:
    """Raises `ValueError` where Python knows no text encoding of this name; it has others, such as of bytes in hex."""
    try:
        "".encode(name)
    except LookupError as error:
        raise ValueError(str(error)) from error


def utf8_lines(lines: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The lines of a text in this encoding, each as UTF-8.

    `lines`: the bytes of the text, cut behind each byte 0x0A, wherever that is in a character. Raises `UnicodeError`
    for bytes that the encoding does not have, after all lines before them.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    begun = ""
    for piece in lines:
        *ends, rest = decoder.decode(piece).split("\n")
        for end in ends:
            yield f"{begun}{end}\n".encode()
            begun = ""
        begun += rest
    begun += decoder.decode(b"", final=True)
    if begun:
        yield begun.encode()


def has_utf16_mark(first_line: bytes) -> bool:
    """Whether a file begins with the byte order mark of UTF-16, which is never UTF-8."""
    return first_line.startswith(_UTF16_MARKS)


def likely_encoding(line: bytes) -> str | None:
    """The encoding of a line that is not the UTF-8 which was expected; None where it may well be UTF-8."""
    if line.startswith(_UTF32_MARKS):
        return "utf-32"
    if has_utf16_mark(line):
        return "utf-16"
    if b"\0" in line:
        return "utf-16-be" if line.startswith(b"\0") else "utf-16-le"
    try:
        line.decode()
    except UnicodeDecodeError:
        return "cp1252"
    return None
