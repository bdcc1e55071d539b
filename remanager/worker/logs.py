"""The log of a worker process: it goes to the console."""

from __future__ import annotations

import logging


def configure_logging() -> None:
    """Write the log of this package to the standard error of the process."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        logging.Formatter(
            "[%(levelname)1.1s %(asctime)s.%(msecs)03d %(name)s] %(message)s", "%Y-%m-%d %H:%M:%S"
        )
    )
    root = logging.getLogger("remanager")
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    root.propagate = False
