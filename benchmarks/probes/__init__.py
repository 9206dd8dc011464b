"""Probes: processes that a suite starts, so that each measurement has its own memory and event loop."""
