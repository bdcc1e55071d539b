"""The asynchronous client over ZeroMQ."""

from __future__ import annotations

from remanager_api.client import AsyncClient as REManagerAPI

__all__ = ["REManagerAPI"]
