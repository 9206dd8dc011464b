"""The command `framework`."""

from framework.cli.main import main

__all__ = ["main"]
