"""Answers to the questions of start-up code: is this a worker, and does it run IPython.

The answers are kept in environment variables, where ``bluesky_queueserver`` looks for them too.
"""

from __future__ import annotations

import os

_WORKER_ACTIVE = "_QSERVER_RE_WORKER_ACTIVE"
_IPYTHON_KERNEL = "_QSERVER_RUNNING_IPYTHON_KERNEL"
_FALSE = ("", "n", "no", "f", "false", "off", "0")


def set_worker_environment(*, ipython_kernel: bool) -> None:
    """Make the questions get true answers in this process and in processes that it starts."""
    set_re_worker_active()
    set_ipython_mode(ipython_kernel)


def is_re_worker_active() -> bool:
    """Tell whether the code runs in an environment worker."""
    return os.environ.get(_WORKER_ACTIVE, "").lower() not in _FALSE


def is_ipython_mode() -> bool:
    """Tell whether the code runs in IPython: in a worker with a kernel, or outside of a worker in a shell."""
    if is_re_worker_active() and _IPYTHON_KERNEL in os.environ:
        return os.environ[_IPYTHON_KERNEL].lower() not in _FALSE
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return get_ipython() is not None


def set_re_worker_active() -> None:
    """Declare that this process is a worker. Not for start-up code."""
    os.environ[_WORKER_ACTIVE] = "1"


def clear_re_worker_active() -> None:
    """Declare that this process is no worker. Not for start-up code."""
    os.environ.pop(_WORKER_ACTIVE, None)


def set_ipython_mode(using_ipython: bool) -> None:
    """Declare whether the worker runs an IPython kernel. Not for start-up code."""
    os.environ[_IPYTHON_KERNEL] = "1" if using_ipython else "0"


def clear_ipython_mode() -> None:
    """Take back the declaration of :func:`set_ipython_mode`. Not for start-up code."""
    os.environ.pop(_IPYTHON_KERNEL, None)
