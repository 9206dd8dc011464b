"""The limits of the runtime: how much it does in one go. Tests and the simulator pass smaller ones."""

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, records, keys and bytes. The defaults are *measured*; docs/design/speed.md tells how."""

    # applying
    slice_seconds: float = 0.02
    """Seconds of records in a row before the event loop gets a turn."""
    piece_records: int = 2048
    """Records that are decoded, and given to `process_batch`, at once."""
    first_piece_records: int = 64
    """The same, until it is known how many outputs a record sends."""
    look_records: int = 64
    """Records that are given to `process` between two looks at the clock."""
    piece_outputs: int = 5_000
    piece_output_bytes: int = 16 * 2**20
    """Outputs, and bytes of them, that are held at the most, beside those of one record: half as many are handed to
    Kafka, so that the piece that follows has room."""
    careful_run: int = 10_000
    """Offsets without a failure after which a task applies records the fast way again; doubled by each rewind."""
    longest_careful_run: int = 1_000_000
    """Offsets beyond which that does not grow."""
    careful_slice: int = 32
    """Records that are given to `process` with undo, before what they changed counts as kept."""
    first_careful_slice: int = 32
    """Records that are given to `process_batch` with undo, until it is known how often they fail."""

    # checkpoints
    first_row_keys: int = 2_000
    largest_row_keys: int = 5_000
    """Keys that are looked up and encoded in one go; how many follows how long that takes."""
    row_seconds: float = 0.005
    """Seconds that encoding these keys should take."""
    base_keys: int = 80_000
    """Keys of new bases that a save carries, over all its checkpoints."""
    base_floor: int = 1 << 20
    """Bytes of rows below which a new base is not worth it."""
    row_cost: int = 128
    """Bytes that a row costs beyond its own: many small rows make a load slow, too."""
    tallies_at_once: int = 2_000
    """Tallied keys that are added up in one go: a millisecond or two."""
    listed_at_once: int = 100_000
    """Keys that are listed for a new base in one go."""
    freed_at_once: int = 20_000
    """Keys whose memory is given back in one go: some milliseconds."""

    # loading
    fold_seconds: float = 0.05
    """Seconds of loading in one go; between two, other work gets the store's thread."""

    # the loop
    fetch_seconds: float = 0.2
    """Seconds that a fetch waits for records."""
    commit_seconds: float = 2.0
    """Seconds that the last commit to the group may take before partitions are handed over."""
    revoke_seconds: float = 30.0
    """Seconds that a plugin may go on with a record after the group wants its partition back."""
    leave_seconds: float = 15.0
    """Seconds that leaving the group may take, and closing the processors."""
    look_seconds: float = 0.5
    """Seconds between two looks at what other workers have stored, at the least."""
