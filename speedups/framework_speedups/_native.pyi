from collections.abc import Callable, Iterable, Sequence
from typing import final

from typing_extensions import Buffer

@final
class Batch:
    """The header of a batch, and the place of its bytes."""

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
    """Records of fetched batches. Each column is made when its method is called."""

    def __new__(
        cls, batches: Iterable[Batch], position: int = 0, decompress: Callable[[int, bytes], bytes] | None = None
    ) -> Columns:
        """The records of these batches from offset `position` on. Raises `ValueError` for damaged bytes.

        `decompress` is called with the number of a compression codec and the compressed records.
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
    """The complete batches of message format v2 at the beginning of `data`. Raises `ValueError` for damaged bytes."""

def crc32c(data: Buffer, /, *, portable: bool = False) -> int:
    """The CRC-32C of the data. With `portable`, the CPU's instructions for it are not used."""
