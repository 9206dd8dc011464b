"""Processes of our own that a suite starts, so that each measurement has its memory and its event loop for itself."""
