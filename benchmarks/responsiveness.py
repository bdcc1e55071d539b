"""How long another client waits for ``status`` while a large batch is checked and stored."""

from __future__ import annotations

import time
from collections import deque

import zmq
from common import ITEM, USER, Client, Figures, client, encode, percentile_ms
from daemons import Daemon, Target

ITEMS = 5000
PERIOD_S = 0.005


def measure(target: Target, figures: Figures) -> None:
    """Run one repeat."""
    batch = encode("queue_item_add_batch", items=[ITEM] * ITEMS, **USER)
    with Daemon(target) as daemon, daemon.opened() as submitter, client(daemon.address) as observer:
        observer.ok("status")
        start = time.perf_counter()
        submitter.send(batch)
        waits = sorted(_observe(submitter, observer))
        figures.note(f"batch of {ITEMS} (s)", time.perf_counter() - start)
        for percent in (50, 99):
            name = f"status during a batch of {ITEMS}: p{percent} (ms)"
            figures.note(name, percentile_ms(waits, percent))


def _observe(submitter: Client, observer: Client) -> list[float]:
    """Ask for the status at fixed times until the batch is answered; return how long each took (s).

    The times do not wait for replies: a daemon that does not answer for a second shows up in all the requests
    of that second, as it would for clients that know nothing of each other.
    """
    request = encode("status")
    waits: list[float] = []
    asked: deque[float] = deque()
    poller = zmq.Poller()
    poller.register(observer.socket, zmq.POLLIN)
    poller.register(submitter.socket, zmq.POLLIN)
    following = time.perf_counter()
    answered = False
    while asked or not answered:
        now = time.perf_counter()
        if not answered and now >= following:
            observer.send(request)
            asked.append(following)
            following += PERIOD_S
            continue
        ready = dict(poller.poll(None if answered else max(0, int(1e3 * (following - now)))))
        if observer.socket in ready:
            observer.receive()
            waits.append(time.perf_counter() - asked.popleft())
        if submitter.socket in ready:
            submitter.receive()
            answered = True
    return waits
