"""The schema of the values that a format writes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framework import UsageError

__all__ = ["OwnSchema", "read_schema_file"]


@dataclass(frozen=True, slots=True)
class OwnSchema:
    """A schema from a file of the user."""

    text: str
    """As the registry gets it."""
    record: str | None
    """The full name of the values' type; None if it has none."""
    encode: Callable[[bytes, Any], bytes]
    """Gives the first bytes and the encoded value. Raises `ValueError` or `TypeError` for what the schema forbids."""


def read_schema_file(file: str) -> str:
    """The text of a file with a schema. Raises `UsageError`."""
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the schema {file} cannot be read: {error}") from error
