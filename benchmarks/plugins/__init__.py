"""Plugins that suites run."""
