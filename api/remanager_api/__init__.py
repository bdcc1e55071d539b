"""Client of a run manager: remanager, or any that speaks the bluesky-queueserver protocol.

``remanager_api.zmq.REManagerAPI`` blocks, ``remanager_api.zmq.aio.REManagerAPI`` is asynchronous.
"""

from __future__ import annotations

from remanager_api.errors import (
    HTTPClientError,
    HTTPRequestError,
    HTTPServerError,
    RequestFailedError,
    RequestParameterError,
    RequestTimeoutError,
    WaitCancelError,
    WaitTimeoutError,
)
from remanager_api.items import BFunc, BInst, BItem, BPlan
from remanager_api.task_errors import (
    TaskCancelledError,
    TaskError,
    TaskFailedError,
    TaskLostError,
    TaskNotFoundError,
)
from remanager_api.waiting import WaitMonitor

__all__ = [
    "BFunc",
    "BInst",
    "BItem",
    "BPlan",
    "HTTPClientError",
    "HTTPRequestError",
    "HTTPServerError",
    "RequestFailedError",
    "RequestParameterError",
    "RequestTimeoutError",
    "TaskCancelledError",
    "TaskError",
    "TaskFailedError",
    "TaskLostError",
    "TaskNotFoundError",
    "WaitCancelError",
    "WaitMonitor",
    "WaitTimeoutError",
]
