"""The monitor of the status that the manager publishes."""

from __future__ import annotations

from remanager_api.monitors.monitor import Monitor, Stream
from remanager_api.transport import TOPIC_INFO


class SystemInfoMonitor(Monitor):
    """Collects the status, which the manager publishes when it changes: messages ``{"status": {...}}``.

    Parameters
    ----------
    stream : callable
        Takes topics, returns the messages that are published from then on.
    poll_timeout : float
        Time (s) for which a disabled monitor goes on, in case that it is enabled again.
    max_msgs : int
        Messages that are kept until they are read; newer ones are dropped. 0: none are kept.
    """

    def __init__(self, stream: Stream, *, poll_timeout: float = 1.0, max_msgs: int = 10000) -> None:
        super().__init__(stream, TOPIC_INFO, poll_timeout=poll_timeout, max_msgs=max_msgs)
