"""Bytewax: one worker, a count for each key, with or without its recovery store."""
