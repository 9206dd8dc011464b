"""Tables on stdout."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len

__all__ = ["print_table"]


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of the same columns, numbers to the right; a million rows take seconds, not minutes."""
    columns = list(rows[0])
    texts = [columns, *([str(cell) for cell in row.values()] for row in rows)]
    widths = [max(map(cell_len, cells)) for cells in zip(*texts, strict=True)]
    to_right = [isinstance(cell, int) for cell in rows[0].values()]
    for cells in texts:
        padded = (_pad(*cell) for cell in zip(cells, widths, to_right, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _pad(text: str, width: int, to_right: bool) -> str:
    space = " " * (width - cell_len(text))
    return space + text if to_right else text + space
