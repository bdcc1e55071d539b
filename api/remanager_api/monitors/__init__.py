"""Monitors of what the manager publishes: console output, and its status."""

from __future__ import annotations

from remanager_api.monitors.console import ConsoleMonitor
from remanager_api.monitors.system_info import SystemInfoMonitor

__all__ = ["ConsoleMonitor", "SystemInfoMonitor"]
