"""Quix Streams: a count for each key in RocksDB, with or without changelog topics."""
