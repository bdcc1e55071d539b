"""remanager: the daemon that runs a laboratory instrument's work."""

__version__ = "0.1.0"

__protocol__ = "bluesky-queueserver 0.0.25"
"""Whose methods, words and texts the control socket knows."""
