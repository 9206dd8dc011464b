"""The limits of the runtime: sizes of its steps, and time limits. Tests and the simulator pass smaller ones."""

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits in seconds, records, keys and bytes. docs/design/speed.md describes the measurements of the defaults."""

    # applying
    slice_seconds: float = 0.02
    """Time after which applying records pauses to give the event loop a turn, in seconds."""
    piece_records: int = 2048
    """Largest number of records to decode, and pass to `process_batch`, at once."""
    first_piece_records: int = 64
    """The same for the first piece, when the number of outputs for each record is not known yet."""
    look_records: int = 64
    """Largest number of records to pass to `process` between two checks of the clock."""
    piece_outputs: int = 5_000
    """Largest number of outputs to hold in memory, unless a single record sends more. Half of it triggers a hand-over
    to Kafka, so that the next piece has room."""
    piece_output_bytes: int = 16 * 2**20
    """The same as `piece_outputs`, in bytes."""
    careful_run: int = 10_000
    """Number of offsets after a failure for which records are applied with undo. Each rewind doubles it."""
    longest_careful_run: int = 1_000_000
    """Largest value that this doubling reaches, in offsets."""
    careful_slice: int = 32
    """Number of records that `process` applies with undo before their changes are kept."""
    first_careful_slice: int = 32
    """Number of records that `process_batch` gets with undo, until the rate of failures is known."""

    # checkpoints
    first_row_keys: int = 2_000
    largest_row_keys: int = 5_000
    """Number of keys to encode without a turn of the event loop: first and largest. It adapts to `row_seconds`."""
    row_seconds: float = 0.005
    """Time that encoding these keys should take, in seconds."""
    base_keys: int = 80_000
    """Number of keys of new bases that a save writes, over all its checkpoints."""
    base_floor: int = 1 << 20
    """Size of the rows up to which no new base is begun, in bytes."""
    row_cost: int = 128
    """Bytes that are added to the size of each row, because many small rows make a load slow, too."""
    tallies_at_once: int = 2_000
    """Number of tallied keys to add to their values without a turn of the event loop; takes one or two milliseconds."""
    listed_at_once: int = 100_000
    """Number of keys to list for a new base without a turn of the event loop."""
    noted_at_once: int = 5_000
    """Number of keys to note or to expire without a look at the clock; takes some milliseconds."""
    freed_at_once: int = 20_000
    """Number of keys to free without a turn of the event loop; takes some milliseconds."""

    # loading
    fold_seconds: float = 0.05
    """Time of one step of loading, in seconds. Other calls to the store get a turn between two steps."""

    indexed_at_once: int = 5_000
    """Number of loaded timers, or keys that expire, to order by time without a turn of the event loop; takes some
    milliseconds."""

    # the loop
    fetch_seconds: float = 0.2
    """Longest wait of a fetch for records, in seconds."""
    commit_seconds: float = 2.0
    """Time limit of the last commit of offsets before partitions are released, in seconds."""
    revoke_seconds: float = 30.0
    """Time that a plugin may go on with a record after its partition was revoked, in seconds."""
    leave_seconds: float = 15.0
    """Time limit for leaving the group, and again for closing the processors, in seconds."""
    look_seconds: float = 0.5
    """Shortest time between two checks of the checkpoints of other workers, in seconds."""
