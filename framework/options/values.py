"""Values of options as users write them: tables and lists as texts, and secrets in files and variables."""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from framework._closest import closest
from framework.options.annotations import fields_of, is_list, is_secret, table_of

__all__ = ["prepared", "put", "read_again"]


def put(values: dict[str, Any], path: list[str], value: Any) -> None:
    """Set the value at a path through nested tables.

    Raises `ValueError` where there is already another value than a table on the way.
    """
    *tables, last = path
    for position, name in enumerate(tables):
        table = _table(values.get(name, {}))
        if table is None:
            raise ValueError(f"{'.'.join(path[: position + 1])} is given as a value, and {'.'.join(path)} inside it")
        values[name] = dict(table)
        values = values[name]
    values[last] = value


def prepared(model: type[BaseModel], values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """The values with nested tables read from their texts, and secrets from where they are.

    Raises `ValueError` for names that are unknown, and for secrets that cannot be read.
    """
    fields = fields_of(model)
    result = dict(values)
    for name, value in values.items():
        path = f"{above}{name}"
        if name not in fields:
            raise ValueError(f"there is no option {path}{closest(name, fields)}")
        annotation = fields[name].annotation
        if nested := table_of(annotation):
            table = _table(value)
            result[name] = value if table is None else prepared(nested, table, f"{path}.")
        elif is_secret(annotation) and isinstance(value, str):
            result[name] = _secret(value, path)
    return result


def read_again(
    model: type[BaseModel], values: Mapping[str, Any], refused: Collection[tuple[int | str, ...]]
) -> dict[str, Any]:
    """The values, with the texts at the refused places read as lists or as JSON, if they can be."""
    fields = fields_of(model)
    result = dict(values)
    for name, value in values.items():
        inside = [place[1:] for place in refused if place[:1] == (name,)]
        if inside and isinstance(value, str):
            result[name] = _read(value, fields[name].annotation)
        elif inside and isinstance(value, Mapping) and (nested := table_of(fields[name].annotation)):
            result[name] = read_again(nested, value, inside)
    return result


def _read(text: str, annotation: Any) -> Any:
    """A list, or what JSON says; the text itself where it is neither, because the complaint about it stands."""
    if is_list(annotation) and not text.lstrip().startswith("[") and text != "null":
        return [item.strip() for item in text.split(",")] if text.strip() else []
    try:
        return json.loads(text)
    except ValueError:
        return text


def _table(value: Any) -> Mapping[str, Any] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return value if isinstance(value, Mapping) else None


def _secret(text: str, option: str) -> str:
    """The secret that the text names by `@file:PATH` or `@env:NAME`, or else is."""
    source, _, place = text.partition(":")
    if source not in ("@file", "@env"):
        return text
    if not place:
        raise ValueError(f"{option}: write @file:PATH or @env:NAME")
    if source == "@file":
        secret, told = _content(place, option), f"the file {place}"
    elif place in os.environ:
        secret, told = os.environ[place], f"the environment variable {place}"
    else:
        raise ValueError(f"{option}: the environment variable {place} is not set")
    if not secret:
        raise ValueError(f"{option}: {told} is empty")
    return secret


def _content(file: str, option: str) -> str:
    """The text of the file, without the line end that editors and `echo` write behind it."""
    try:
        return Path(file).read_text(encoding="utf-8").removesuffix("\n")
    except UnicodeDecodeError:
        # The error is not chained: it has the bytes.
        raise ValueError(f"{option}: the file {file} is not a text in UTF-8") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{option}: the file {file} cannot be read: {reason}") from error
