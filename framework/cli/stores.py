"""The location of the store that a command uses, and how it is opened."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from framework.errors import UsageError
from framework.plugins import load
from framework.stores import Store

__all__ = ["open_store", "store_location"]

_IN_DIRECTORIES: Final = frozenset({"sqlite", "file"})
"""Stores whose location is `--state-dir` where none is named."""


def store_location(ctx: click.Context, store: str, state_dir: Path) -> str:
    """The location of the store, out of `--store NAME` or `--store NAME:LOCATION` and `--state-dir`.

    Raises `UsageError` where both name a place, and `--store` is not given in a stronger layer (a flag beats a
    variable, a variable beats a file).
    """
    if ":" not in store:
        return f"{store}:{state_dir}" if store in _IN_DIRECTORIES else f"{store}:"
    if _layer(ctx, "state_dir") <= _layer(ctx, "store"):
        raise UsageError(
            f"--store and --state-dir {state_dir} both say where the state is; leave --state-dir out, or the location "
            f"behind --store {store.partition(':')[0]}"
        )
    return store


def _layer(ctx: click.Context, parameter: str) -> ParameterSource:
    """Where an option was given: a flag is less than a variable, a variable less than a file."""
    return ctx.get_parameter_source(parameter) or ParameterSource.DEFAULT


def open_store(location: str, options: Mapping[str, Any], *, read_only: bool = True) -> Store:
    """The store at that location, of framework or of any installed plugin.

    Raises `UsageError` for one that is not there, or that does not outlive its process.
    """
    name, plugins = location.partition(":")[0], load([])
    if not plugins.store(name).survives:
        raise UsageError(f"store {name} keeps nothing beyond the worker's own process; name another --store")
    return plugins.open_store(location, options, read_only=read_only)
