"""Reads fetched Kafka record batches, and holds tables of state, in C. `framework` uses it where it is installed."""

from framework_speedups._native import Batch, Columns, batches, crc32c
from framework_speedups._table import Table

__all__ = ["Batch", "Columns", "Table", "batches", "crc32c"]
