"""C code that reads fetched Kafka record batches and holds tables of state. `framework` uses it if it is installed."""

from framework_speedups._native import Batch, Columns, batches, crc32c
from framework_speedups._records import Rows, extent
from framework_speedups._table import Table

__all__ = ["Batch", "Columns", "Rows", "Table", "batches", "crc32c", "extent"]
