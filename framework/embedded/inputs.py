r"""Input files: records from a file or standard input.

======  =======================  ====================================  ===============================================
format  extensions               a record's key                        its value
======  =======================  ====================================  ===============================================
csv     .csv                     the column `key`                      the row as a JSON object, all fields strings
ndjson  .ndjson, .jsonl, .json   the field `key`; dots reach inwards   the line as it is
tsv     all others               what stands before the first tab      what stands after it
======  =======================  ====================================  ===============================================

Each also with `.gz` behind. Without `key`, and where a JSON field is null, a record has no key; so it has in a tsv line
without a tab, which is all value. Numbers and booleans of JSON are keys as they stand in the file. The first line of
a csv file names the columns. Blank lines are no records. Text is UTF-8; tsv is taken byte by byte as it is.
"""

import codecs
import csv
import gzip
import io
import json
import stat
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from framework.errors import UsageError
from framework.formats import json_reader

__all__ = ["INPUT_FORMATS", "Input", "InputFormat", "InputRecord"]

InputFormat = Literal["csv", "ndjson", "tsv"]
INPUT_FORMATS: Final[tuple[InputFormat, ...]] = ("csv", "ndjson", "tsv")

_FORMAT_BY_EXTENSION: Final[dict[str, InputFormat]] = {
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
}
_KEY_TEXTS: Final = {True: "true", False: "false"}


class InputRecord(NamedTuple):
    """A record of an input file, and the line where it ends (the first is 1)."""

    key: bytes | None
    value: bytes | None
    line: int


class Input:
    """The records of a file, or of standard input if `path` is `-`, which is read once.

    `format` is told from the file's name unless given. `key` names the column or field that becomes the key.
    Raises `UsageError`, here and while iterating, naming the file and the line.
    """

    def __init__(self, path: str, *, format: InputFormat | None = None, key: str | None = None) -> None:  # noqa: A002 - its name in --format
        self.name = "standard input" if path == "-" else path
        self.size = None if path == "-" else _size_of(path)
        """How many bytes there are to read, as they are stored; None where nobody knows."""
        self.bytes_read = 0
        """How many of these are read so far."""
        self._path = path
        self._format = format or _format_of(path)
        self._key = key
        self._line = 0
        self._lines: Iterator[bytes] = iter(())
        if self._format == "tsv" and key is not None:
            raise UsageError(
                f"{self.name} is read as key<TAB>value lines, which have no field {key!r}; "
                "leave the key out, or name the format: csv or ndjson"
            )

    def __iter__(self) -> Iterator[InputRecord]:
        read = {"csv": self._read_csv, "ndjson": self._read_ndjson, "tsv": self._read_tsv}[self._format]
        with self._open() as file:
            self._line = 0
            self._lines = self._read_lines(gzip.GzipFile(fileobj=file) if self._path.endswith(".gz") else file)
            yield from read()

    def _open(self) -> io.BufferedIOBase:
        try:
            file = _raw_stdin() if self._path == "-" else open(self._path, "rb", buffering=0)  # noqa: SIM115 - __iter__ closes it
        except OSError as error:
            raise UsageError(f"cannot read {self.name}: {error.strerror}") from error
        return io.BufferedReader(_Counted(file, self))

    def _read_lines(self, file: io.BufferedIOBase) -> Iterator[bytes]:
        """Count and give the lines, the first without a byte order mark."""
        while line := self._read_line(file):
            self._line += 1
            yield line.removeprefix(codecs.BOM_UTF8) if self._line == 1 else line

    def _read_line(self, file: io.BufferedIOBase) -> bytes:
        try:
            return file.readline()
        except (OSError, EOFError, zlib.error) as error:
            raise UsageError(f"{self.name} cannot be read beyond line {self._line}: {error}") from error

    def _read_csv(self) -> Iterator[InputRecord]:
        rows = csv.reader(self._text_lines(), strict=True)
        header = self._checked_header(self._next_row(rows))
        key_column = None if self._key is None else header.index(self._key)
        while (row := self._next_row(rows)) is not None:
            if not row:
                continue
            if len(row) != len(header):
                raise self._error(f"{len(row)} fields where the header has {len(header)}")
            value = _compact_json(dict(zip(header, row, strict=True)))
            yield InputRecord(None if key_column is None else row[key_column].encode(), value.encode(), self._line)

    def _next_row(self, rows: Iterator[list[str]]) -> list[str] | None:
        try:
            return next(rows, None)
        except csv.Error as error:
            raise self._error(f"not CSV: {error}") from error

    def _checked_header(self, header: list[str] | None) -> list[str]:
        if not header:
            raise UsageError(f"{self.name} has no header line; the first line of a csv file names its columns")
        if twice := sorted({name for name in header if header.count(name) > 1}):
            raise self._error(f"two columns have the name {twice[0]!r}; rename one")
        if self._key is not None and self._key not in header:
            raise self._error(f"there is no column {self._key!r}; the columns are {', '.join(header)}")
        return header

    def _text_lines(self) -> Iterator[str]:
        for line in self._lines:
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                raise self._error(f"not UTF-8: {error}") from error

    def _read_ndjson(self) -> Iterator[InputRecord]:
        path = None if self._key is None else self._key.split(".")
        for line in self._lines:
            text = line.strip()
            if not text:
                continue
            try:
                document = _read_json(text)
            except ValueError as error:
                raise self._error(f"not one JSON document: {error}") from error
            yield InputRecord(None if path is None else self._json_key(document, path), text, self._line)

    def _json_key(self, document: Any, path: list[str]) -> bytes | None:
        found = document
        for name in path:
            if not isinstance(found, dict) or name not in found:
                there = f"fields are {', '.join(document)}" if isinstance(document, dict) else "line is not an object"
                raise self._error(f"there is no field {self._key!r}; the {there}")
            found = found[name]
        if found is None:
            return None
        if isinstance(found, dict | list):
            raise self._error(f"field {self._key!r} is an object or an array, which cannot be a key")
        text: str = _KEY_TEXTS.get(found, found)
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise self._error(f"field {self._key!r} cannot be a key: {error}") from error

    def _read_tsv(self) -> Iterator[InputRecord]:
        for line in self._lines:
            text = line.removesuffix(b"\n").removesuffix(b"\r")
            if not text:
                continue
            key, tab, value = text.partition(b"\t")
            yield InputRecord(key, value, self._line) if tab else InputRecord(None, text, self._line)

    def _error(self, what: str) -> UsageError:
        return UsageError(f"{self.name}, line {self._line}: {what}")


class _Counted(io.RawIOBase):
    """A file that tells an `Input` how many bytes were read of it."""

    def __init__(self, file: Any, owner: Input) -> None:
        self._file = file
        self._owner = owner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._file.readinto(buffer)
        self._owner.bytes_read += count
        return count

    def close(self) -> None:
        if self._file is not _raw_stdin():
            self._file.close()
        super().close()


def _raw_stdin() -> Any:
    """Standard input without its buffer, whose lock, held by a thread that waits for input, would abort the exit."""
    return getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)


def _size_of(path: str) -> int | None:
    try:
        status = Path(path).stat()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if stat.S_ISDIR(status.st_mode):
        raise UsageError(f"cannot read {path}: it is a directory")
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _format_of(path: str) -> InputFormat:
    return _FORMAT_BY_EXTENSION.get(Path(path.removesuffix(".gz")).suffix.lower(), "tsv")


_compact_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_read_json = json_reader(parse_float=str, parse_int=str)  # as text, numbers stay as the file has them
