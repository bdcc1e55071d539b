"""The blocking client over ZeroMQ."""

from __future__ import annotations

from remanager_api.blocking import BlockingClient as REManagerAPI

__all__ = ["REManagerAPI"]
