"""Reads fetched Kafka record batches, of message format v2, in C. `framework` uses it where it is installed."""

from framework_speedups._native import Batch, Rows, batches, crc32c

__all__ = ["Batch", "Rows", "batches", "crc32c"]
