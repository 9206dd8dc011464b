"""Lines of a CSV file."""

import csv
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field, field_validator

from framework.formats import Format, FormatOptions

__all__ = ["Csv", "CsvOptions"]


class CsvOptions(FormatOptions):
    """The columns of the lines."""

    columns: str = Field(description="The names of the columns, in their order, with a comma between them")
    delimiter: str = Field(default=",", min_length=1, max_length=1, description="The character between two fields")

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, text: str) -> str:
        names = text.split(",")
        if not all(names) or len(set(names)) < len(names):
            raise ValueError("give each column a name of its own, as in columns=id,name,price")
        return text


class Csv(Format):
    """One line of a CSV file, as a dict of texts by the column's name."""

    name: ClassVar = "csv"
    Options: ClassVar = CsvOptions

    def __init__(self, options: CsvOptions, part: Any, topic: str | None = None) -> None:
        super().__init__(options, part, topic)
        self._columns = options.columns.split(",")

    def read(self, data: bytes) -> dict[str, str]:
        rows = self._rows([data.decode()])
        return self._fields(rows[0] if len(rows) == 1 else [])

    def read_column(self, column: Sequence[bytes | None]) -> Sequence[Any]:
        rows = self._rows(["" if data is None else data.decode() for data in column])
        if len(rows) < len(column):
            raise ValueError("a quoted field does not end in its line")
        return [None if data is None else self._fields(row) for data, row in zip(column, rows, strict=True)]

    def write(self, value: Any) -> bytes:
        if not isinstance(value, dict) or value.keys() != set(self._columns):
            raise ValueError(f"a dict with exactly the columns {', '.join(self._columns)} is needed")
        line = _Line()
        csv.writer(line, delimiter=self.options.delimiter, lineterminator="").writerow(
            [value[name] for name in self._columns]
        )
        return line.text.encode()

    def _rows(self, lines: Sequence[str]) -> list[list[str]]:
        try:
            return list(csv.reader(lines, delimiter=self.options.delimiter, strict=True))
        except csv.Error as error:
            raise ValueError(str(error)) from error

    def _fields(self, row: Sequence[str]) -> dict[str, str]:
        if len(row) != len(self._columns):
            raise ValueError(f"the line has {len(row)} fields, not {len(self._columns)}")
        return dict(zip(self._columns, row, strict=True))


class _Line:
    """A file that keeps what is written to it."""

    text = ""

    def write(self, text: str) -> None:
        self.text += text
