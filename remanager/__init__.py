"""remanager: the daemon that runs a laboratory instrument's work."""

__version__ = "0.1.0"
