"""The names that a misspelled one may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["closest", "closest_or_all"]


def closest(name: str, known: Iterable[str]) -> str:
    """` (did you mean …?)` for a name that is not among the known ones; nothing where none of them is close."""
    matches = get_close_matches(name, sorted(known))
    return f" (did you mean {' or '.join(matches)}?)" if matches else ""


def closest_or_all(name: str, known: Iterable[str]) -> str:
    """As `closest`, but `; there are: …`, with all the known ones, where none of them is close."""
    names = sorted(known)
    return closest(name, names) or f"; there are: {', '.join(names)}"
