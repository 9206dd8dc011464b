"""Faust (faust-streaming): a table of counts, in memory or in RocksDB, with its changelog topic."""
