r"""Input files: records from a file or standard input.

======  =======================  ====================================  ===============================================
format  extensions               a record's key                        its value
======  =======================  ====================================  ===============================================
csv     .csv                     the column `key`                      the row as a JSON object, all fields strings
ndjson  .ndjson, .jsonl, .json   the field `key`; dots reach inwards   the line as it is
tsv     all others               what stands before the first tab      what stands after it
======  =======================  ====================================  ===============================================

Each name may end in `.gz`, for a compressed file. A record has no key without `key`, where a JSON field is null, and in
a tsv line without a tab; such a line is all value. Numbers and booleans of JSON become keys as they are written in the
file. The first line of a csv file names the columns; `delimiter` separates them. Blank lines are skipped.

csv and ndjson are UTF-8, and tsv is taken byte by byte. With `encoding`, each of them is read in that encoding, and its
keys and values become UTF-8. A byte order mark is skipped, and lines may end in CR LF.
"""

import codecs
import csv
import gzip
import io
import json
import re
import stat
import sys
import zlib
from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from framework.embedded.text import check_encoding, has_utf16_mark, likely_encoding, utf8_lines
from framework.errors import UsageError

__all__ = ["INPUT_FORMATS", "Input", "InputFormat", "InputRecord"]

InputFormat = Literal["csv", "ndjson", "tsv"]
INPUT_FORMATS: Final[tuple[InputFormat, ...]] = ("csv", "ndjson", "tsv")

_FORMAT_BY_EXTENSION: Final[dict[str, InputFormat]] = {
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
}
_OTHER_DELIMITERS: Final = {";": "';'", "\t": "tab", "|": "'|'"}
"""Other common delimiters, and how to write each in a shell."""
_BEHIND_QUOTE: Final = re.compile(r'"([;\t|])')
_MAX_FIELD_CHARACTERS: Final = 2**26
"""Far more than a record can hold; it ends the search for a quote that is not closed before memory is full."""
_CSV_ERRORS: Final = {
    "unexpected end of data": "the file ends within quotes; a quote is not closed",
    "new-line character": "a carriage return (CR) within a field that is not in quotes; let lines end in LF or CR LF",
    "field limit": f"a field of more than {_MAX_FIELD_CHARACTERS:,} characters, as where a quote is not closed",
}
"""Parts of the csv module's errors, and what these mean for the file."""
_KEY_TEXTS: Final = {True: "true", False: "false"}


class InputRecord(NamedTuple):
    """A record of an input file, and the line where it ends (the first is 1)."""

    key: bytes | None
    value: bytes | None
    line: int


class Input:
    """The records of a file, or of standard input if `path` is `-`, which is read once.

    `format` is told from the file's name unless given. `key` names the column or field that becomes the key.
    `delimiter`: the character between the columns of a csv file, a comma by default. `encoding`: a text encoding by the
    name that Python has for it. Raises `UsageError`, here and while iterating, naming the file and the line.
    """

    def __init__(
        self,
        path: str,
        *,
        format: InputFormat | None = None,  # noqa: A002 - its name in --format
        key: str | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
    ) -> None:
        self.name = "standard input" if path == "-" else path
        self.size = None if path == "-" else _size_of(path)
        """The size of the file in bytes, compressed ones as they are; None where it is unknown, as of a pipe."""
        self.bytes_read = 0
        """The number of these bytes that are read so far."""
        self._path = path
        self._format = format or _format_of(path)
        self._key = key
        self._delimiter = delimiter
        self._encoding = encoding
        self._line = 0
        self._lines: Iterator[bytes] = iter(())
        self._header_line = ""
        self._check_options()

    def _check_options(self) -> None:
        if self._encoding is not None:
            check_encoding(self._encoding)
        if self._format == "tsv" and self._key is not None:
            raise UsageError(
                f"{self.name} is read as key<TAB>value lines, which have no field {self._key!r}; leave out --input-key "
                "(of produce: --key), or name the format csv (with --input-delimiter tab where tabs separate the "
                "columns) or ndjson with --input-format (of produce: --format)"
            )
        if self._format != "csv" and self._delimiter is not None:
            raise UsageError(
                f"{self.name} is read as {self._format}, and only csv has a delimiter; leave out --input-delimiter, "
                "or name the format csv with --input-format (of produce: --format)"
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
        """Count and give the lines in UTF-8 (of tsv, as they are), the first without a byte order mark."""
        lines = iter(lambda: self._read_line(file), b"")
        for line in lines if self._encoding is None else self._recoded(lines, self._encoding):
            self._line += 1
            if self._line == 1:
                if has_utf16_mark(line):
                    raise self._error(f"not UTF-8{self._encoding_advice(line)}")
                line = line.removeprefix(codecs.BOM_UTF8)
            yield line

    def _recoded(self, lines: Iterator[bytes], encoding: str) -> Iterator[bytes]:
        try:
            yield from utf8_lines(lines, encoding)
        except UnicodeError as error:
            self._line += 1
            raise self._error(f"not {encoding}: {error}; name another --input-encoding") from error

    def _read_line(self, file: io.BufferedIOBase) -> bytes:
        try:
            return file.readline()
        except (OSError, EOFError, zlib.error) as error:
            raise UsageError(f"{self.name} cannot be read beyond line {self._line}: {error}") from error

    def _read_csv(self) -> Iterator[InputRecord]:
        csv.field_size_limit(max(csv.field_size_limit(), _MAX_FIELD_CHARACTERS))  # it counts for the whole process
        rows = csv.reader(self._text_lines(), delimiter=self._delimiter or ",", strict=True)
        header = self._checked_header(self._next_row(rows))
        key_column = None if self._key is None else header.index(self._key)
        while (row := self._next_row(rows)) is not None:
            if not row:
                continue
            if len(row) != len(header):
                raise self._error(f"{_count(row, 'field')} where the header has {len(header)}")
            value = _compact_json(dict(zip(header, row, strict=True)))
            yield InputRecord(None if key_column is None else row[key_column].encode(), value.encode(), self._line)

    def _next_row(self, rows: Iterator[list[str]]) -> list[str] | None:
        first = self._line + 1
        try:
            return next(rows, None)
        except csv.Error as error:
            place = "" if first >= self._line else f" in the row that begins in line {first}"
            advice = self._delimiter_advice() if self._line == 1 else ""
            raise self._error(f"not CSV: {_csv_problem(error)}{place}{advice}") from error

    def _delimiter_advice(self) -> str:
        """Names the option for the delimiter where a quote in the header is followed by another one than a comma."""
        other = None if self._delimiter else _BEHIND_QUOTE.search(self._header_line)
        return f"; try --input-delimiter {_OTHER_DELIMITERS[other[1]]}" if other else ""

    def _checked_header(self, header: list[str] | None) -> list[str]:
        if not header:
            raise UsageError(f"{self.name} has no header line; the first line of a csv file names its columns")
        if twice := sorted({name for name in header if header.count(name) > 1}):
            raise self._error(f"two columns have the name {twice[0]!r}; rename one")
        if "\0" in "".join(header):
            raise self._error(f"the header has null bytes{self._encoding_advice(''.join(header).encode())}")
        other = None if self._delimiter else _other_delimiter(header)
        if other and len(header) == 1:
            raise self._error(
                f"the header is one column, {header[0]!r}, that looks like several; "
                f"try --input-delimiter {other}, or, if the file really has one column, --input-delimiter ','"
            )
        if self._key is not None and self._key not in header:
            advice = f"; try --input-delimiter {other}" if other else ""
            raise self._error(f"there is no column {self._key!r}; the columns are {', '.join(header)}{advice}")
        return header

    def _text_lines(self) -> Iterator[str]:
        for line in self._lines:
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise self._error(f"not UTF-8: {error}{self._encoding_advice(line)}") from error
            if self._line == 1:
                self._header_line = text
            yield text

    def _encoding_advice(self, line: bytes) -> str:
        """Names the option for the encoding where a line looks like one that is not UTF-8."""
        guess = None if self._encoding else likely_encoding(line)
        return f"; if the file has another encoding, name it, such as --input-encoding {guess}" if guess else ""

    def _read_ndjson(self) -> Iterator[InputRecord]:
        path = None if self._key is None else self._key.split(".")
        for line in self._lines:
            text = line.strip()
            if not text:
                continue
            try:
                document = _read_json(text)
            except ValueError as error:
                what = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
                raise self._error(f"not one JSON document: {what}{self._encoding_advice(line)}") from error
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


def _other_delimiter(header: list[str]) -> str | None:
    """The delimiter, as written in a shell, of a header that was wrongly split at commas; None if commas are likely."""
    line = ",".join(header)
    counts = {shown: line.count(delimiter) for delimiter, shown in _OTHER_DELIMITERS.items()}
    most = max(counts, key=lambda shown: counts[shown])
    return most if counts[most] >= len(header) else None


def _csv_problem(error: csv.Error) -> str:
    return next((meaning for part, meaning in _CSV_ERRORS.items() if part in str(error)), str(error))


def _count(items: Sized, name: str) -> str:
    return f"{len(items)} {name}{'' if len(items) == 1 else 's'}"


_compact_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _read_json(data: bytes) -> Any:
    """Decode strict JSON, with numbers as text, so that they stay as the file has them. Raises `ValueError`."""
    try:
        return _strict_json.decode(data.decode())
    except RecursionError:
        raise ValueError("nested too deep") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in members if names.count(name) > 1)
        raise ValueError(f"an object has the name {twice!r} more than once")
    return members


_strict_json = json.JSONDecoder(
    parse_float=str, parse_int=str, parse_constant=_refuse_constant, object_pairs_hook=_object_without_duplicates
)
