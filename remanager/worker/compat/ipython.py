"""Stand-in for the IPython shell in start-up code that runs in plain Python."""

from __future__ import annotations

import logging
from typing import Any

from remanager.worker.compat.user_namespace import global_user_namespace


class PlainShell:
    """The part of an IPython shell that start-up code commonly uses.

    Attributes
    ----------
    user_ns : dict
        Namespace of the worker.
    log : logging.Logger
        A logger.
    """

    def __init__(self, user_ns: dict[str, Any]) -> None:
        self.user_ns = user_ns
        self.log = logging.getLogger("remanager.startup")


def get_ipython() -> PlainShell:
    """Return the stand-in for the shell."""
    return PlainShell(global_user_namespace.user_ns)
