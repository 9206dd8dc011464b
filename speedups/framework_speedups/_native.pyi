from collections.abc import Callable, Iterable, Sequence
from typing import final

from typing_extensions import Buffer

@final
class Batch:
    """The header of a batch, and where its bytes are."""

    base_offset: int
    next_offset: int
    producer_id: int
    is_transactional: bool
    is_control_batch: bool
    @property
    def data(self) -> bytes: ...
    def validate_crc(self) -> bool: ...

@final
class Columns:
    """Records of fetched batches, from which columns are made when somebody asks for them."""

    def __new__(
        cls, batches: Iterable[Batch], position: int = 0, decompress: Callable[[int, bytes], bytes] | None = None
    ) -> Columns:
        """The records of these batches from offset `position` on. Raises `ValueError` where bytes are damaged.

        `decompress` gets the number of a codec, and the compressed records.
        """

    def __len__(self) -> int: ...
    def __getitem__(self, positions: slice, /) -> Columns: ...
    def offsets(self) -> Sequence[int]: ...
    def timestamps(self) -> Sequence[int]: ...
    def keys(self) -> Sequence[bytes | None]: ...
    def values(self) -> Sequence[bytes | None]: ...
    def headers(self) -> Sequence[tuple[tuple[str, bytes | None], ...]]: ...
    def key_texts(self) -> Sequence[str | None]: ...

def batches(data: bytes, /) -> list[Batch]:
    """The whole batches of message format v2 with which `data` begins. Raises `ValueError` where it is damaged."""

def crc32c(data: Buffer, /, *, portable: bool = False) -> int:
    """The CRC-32C; `portable`: without the instructions that this CPU may have for it."""
