"""The blocking client over ZeroMQ."""

from __future__ import annotations

from remanager_api.blocking import BlockingClient
from remanager_api.zmq import aio


class REManagerAPI(BlockingClient):
    """Talks to a run manager over ZeroMQ; each method waits for its reply.

    It may be used from several threads, inside a running event loop, and in a forked child. The parameters
    are those of :class:`remanager_api.zmq.aio.REManagerAPI`, without ``loop``.
    """

    _asynchronous = aio.REManagerAPI


__all__ = ["REManagerAPI"]
