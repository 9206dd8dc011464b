"""Reads fetched Kafka record batches, and keeps values by key, in C. `framework` uses it where it is installed."""

from framework_speedups._native import Batch, Rows, batches, crc32c
from framework_speedups._values import Values

__all__ = ["Batch", "Rows", "Values", "batches", "crc32c"]
