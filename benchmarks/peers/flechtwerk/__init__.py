"""Flechtwerk: a transformer that counts, a transaction for each batch of a partition, a changelog, RocksDB, uvloop."""
