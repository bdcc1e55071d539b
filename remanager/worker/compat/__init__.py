"""What start-up code written for ``bluesky_queueserver`` finds in a worker."""

from __future__ import annotations

from remanager.worker.compat.environment import set_worker_environment
from remanager.worker.compat.modules import install, set_user_namespace

__all__ = ["install", "set_user_namespace", "set_worker_environment"]
