"""What a plugin contributes: a processor."""

from abc import ABC
from collections.abc import Awaitable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from framework.output import Output
from framework.records import Batch, Record, TopicPartition
from framework.state import State

__all__ = ["API_VERSION", "Options", "Processor"]

API_VERSION = 1
"""The version of the plugin contract that this framework offers; `Processor.api_version` names the one needed."""


class Options(BaseModel):
    """Base of a processor's options: unknown names are refused, values are checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Processor(ABC):
    """Keeps state over the records of one partition; one instance lives per assigned partition.

    Write `process`; write `process_batch` too (or alone) where speed matters. Both must give the same state.
    Everything that must survive belongs in `state`: attributes of `self` are lost at a restart.
    """

    api_version: ClassVar[int]
    """The `framework.API_VERSION` that this processor was written for. Required."""

    name: ClassVar[str] = ""
    """Names the state; by default the plugin's name."""

    state_version: ClassVar[int] = 1
    """Raise it whenever the meaning of stored values changes, and write `migrate`."""

    key_format: ClassVar[str] = "utf8"
    value_format: ClassVar[str] = "bytes"
    """How keys and values are read (see `framework.formats`), unless the command says otherwise."""

    Options: ClassVar[type[Options]] = Options

    def __init__(self, options: Any, partition: TopicPartition) -> None:
        self.options = options
        self.partition = partition

    async def open(self) -> None:  # noqa: B027 - a processor may go without
        """Called once the state is loaded, before the first record; for connections and the like.

        A new instance is made and opened after each reload of the state, such as after a failure. An error ends the
        run.
        """

    async def close(self) -> None:  # noqa: B027 - a processor may go without
        """Called once for each instance when it is not used any more, also after errors and where `open` failed.

        It may be called on an instance that was never opened. An error is logged, and changes nothing.
        """

    def process(self, record: Record, state: State[Any, Any], out: Output) -> Awaitable[None] | None:
        """Apply one record: change `state`, and send outputs to `out`. May be `async def`.

        Raise any exception (`framework.RecordError` for a plain refusal) to reject the record.
        """
        raise NotImplementedError

    def process_batch(self, batch: Batch, state: State[Any, Any], out: Output) -> None:
        """Apply a run of records at once; the fast path."""
        raise NotImplementedError

    @classmethod
    def migrate(cls, state: State[Any, Any], from_version: int) -> None:
        """Take state of an older `state_version` forward, in place, at the same offset."""
        raise NotImplementedError
