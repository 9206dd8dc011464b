"""Every hook that a plugin may implement, with `framework.hookimpl`. Nothing else.

Hooks register; they never run per record. The observers are called at most once a batch.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

from framework.records import TopicPartition

if TYPE_CHECKING:
    from framework.codecs import Codec
    from framework.errors import ProcessingError
    from framework.processor import Processor
    from framework.stores import Store

__all__ = ["PROJECT", "hookimpl", "hookspec"]

PROJECT = "framework"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def framework_processors() -> "Sequence[type[Processor]]":  # type: ignore[empty-body]
    """The processor classes that the plugin contributes."""


@hookspec
def framework_codecs() -> "Sequence[type[Codec]]":  # type: ignore[empty-body]
    """The codec classes that the plugin contributes, for `--codec NAME`."""


@hookspec
def framework_stores() -> "Sequence[type[Store]]":  # type: ignore[empty-body]
    """The store classes that the plugin contributes, for `--store NAME`."""


@hookspec
def framework_assigned(plugin: str, partition: TopicPartition, last_offset: int, epoch: int) -> None:
    """A partition's state is loaded, and its records are about to flow."""


@hookspec
def framework_released(plugin: str, partition: TopicPartition, last_offset: int) -> None:
    """A partition went to another owner, or the runtime stops."""


@hookspec
def framework_checkpoint_saved(plugin: str, partition: TopicPartition, last_offset: int, changes: int) -> None:
    """A checkpoint of `changes` changed keys is stored."""


@hookspec
def framework_record_failed(
    plugin: str, partition: TopicPartition, offset: int, error: "ProcessingError", skipped: bool
) -> None:
    """A record could not be applied; `skipped` tells whether the runtime goes on after it."""
