"""Every hook that a plugin may implement, with `framework.hookimpl`. Nothing else.

Hooks register; they never run per record. The observers are called at most once a batch, and must not be `async def`.
What an observer raises is logged, and changes nothing.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import pluggy

from framework.records import TopicPartition

if TYPE_CHECKING:
    from framework.codecs import Codec
    from framework.errors import ProcessingError
    from framework.formats import Format
    from framework.policy import OnError
    from framework.processor import Processor
    from framework.stores import Store

__all__ = ["OBSERVERS", "PROJECT", "hookimpl", "hookspec"]

PROJECT = "framework"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Decorates a function of a plugin that implements the hook of its name."""

OBSERVERS: Final = (
    "framework_assigned",
    "framework_released",
    "framework_checkpoint_saved",
    "framework_records_failed",
    "framework_records_late",
    "framework_gap",
)
"""The hooks that are told what the runtime does. The others contribute classes."""


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
def framework_formats() -> "Sequence[type[Format]]":  # type: ignore[empty-body]
    """The format classes that the plugin contributes, for `--value-format NAME` and `value_format`."""


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
def framework_records_failed(
    plugin: str, partition: TopicPartition, errors: "Mapping[int, ProcessingError]", on_error: "OnError"
) -> None:
    """Records of a batch could not be applied, and all retries failed. `errors` maps their offsets to the exceptions.

    `on_error` tells what the runtime does with them. After a restart, and after a failure that made the runtime go back
    to its last checkpoint, it may fail on the same records again, and tell so again.
    """


@hookspec
def framework_records_late(plugin: str, partition: TopicPartition, offsets: Sequence[int]) -> None:
    """Records at these offsets of a batch came after their windows had closed, and were left out.

    After a restart, the runtime may go back to its last checkpoint, and tell of the same records again.
    """


@hookspec
def framework_gap(plugin: str, partition: TopicPartition, first: int, stop: int) -> None:
    """The log had lost the offsets `first` up to, not including, `stop`, and the state goes on without them."""
