"""How contestants in Python parse values: the option `amounts` of a task.

This module runs in the environment of each contestant. It imports a package only if the option names it.
"""

import importlib
import json
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

__all__ = ["KINDS", "loads"]

KINDS: "dict[str, type[float] | type[Decimal]]" = {"json-decimal": Decimal, "json": float, "orjson": float}
"""The type of the amounts, by the option."""


def loads(amounts: str) -> Callable[[Any], Any]:
    """The function that parses a value; the field `amount` of its result is the amount."""
    if amounts == "json-decimal":
        return partial(json.loads, parse_float=Decimal)
    parse: Callable[[Any], Any] = importlib.import_module(amounts).loads
    return parse
