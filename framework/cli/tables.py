"""Tables on stdout."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

import click
from rich.cells import cell_len

__all__ = ["print_table", "terminal_width"]

_GAP: Final = "  "


def terminal_width() -> int | None:
    """The number of characters in a line of the terminal that stdout is; None where stdout is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_table(rows: Sequence[Mapping[str, Any]], *, width: int | None = None) -> None:
    """Print rows of the same columns, numbers to the right.

    The columns that do not fit in `width` characters are left out, those at the right first, and stderr names them.
    """
    columns = {name: [name, *(str(row[name]) for row in rows)] for name in rows[0]}
    widths = [max(map(_width, cells)) for cells in columns.values()]
    kept = len(columns) if width is None else _fitting(widths, width)
    names = list(columns)
    padded = [
        _padded(columns[name], column_width, to_right=isinstance(rows[0][name], int))
        for name, column_width in zip(names[:kept], widths, strict=False)
    ]
    sys.stdout.writelines(f"{_GAP.join(cells).rstrip()}\n" for cells in zip(*padded, strict=True))
    if kept < len(names):
        sys.stdout.flush()
        click.echo(f"not shown, for lack of room: {', '.join(names[kept:])}; a wider terminal shows them", err=True)


def _fitting(widths: Sequence[int], width: int) -> int:
    """The number of columns that fit, at least one."""
    ends = accumulate(widths, lambda end, column: end + len(_GAP) + column)
    return max(1, sum(end <= width for end in ends))


def _padded(cells: Sequence[str], width: int, *, to_right: bool) -> list[str]:
    if to_right:
        return [" " * (width - _width(cell)) + cell for cell in cells]
    return [cell + " " * (width - _width(cell)) for cell in cells]


def _width(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)
