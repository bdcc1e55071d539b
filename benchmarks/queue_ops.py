"""Changing and reading a queue of 0, 1000 and 10 000 items."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator

from common import BATCH, ITEM, USER, Client, Figures, closed_loop, encode, fill_queue, percentile_ms
from daemons import Daemon, Target

SIZES = (0, 1000, 10_000)
SECONDS = 0.5
READS = 20


def measure(target: Target, figures: Figures) -> None:
    """Run one repeat."""
    figures.note("disk, write and fdatasync: p50 (ms)", _disk_ms())
    with Daemon(target) as daemon, daemon.opened() as connection:
        for size in SIZES:
            fill_queue(connection, size)
            _adding(daemon, connection, figures, size)
        # The adding has left some more than the largest size.
        _reading(connection, figures)
        _changing(daemon, connection, figures)


def _disk_ms() -> float:
    """Return how long it takes to bring 4 KiB to the disk on which the daemons keep their state (ms)."""
    times = []
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(200):
            start = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - start)
    return percentile_ms(sorted(times), 50)


def _adding(daemon: Daemon, connection: Client, figures: Figures, size: int) -> None:
    """Add single items and a batch; the queue grows by a few thousand meanwhile."""
    measure_adding(daemon.address, figures, size)
    start = time.perf_counter()
    connection.ok("queue_item_add_batch", items=[ITEM] * BATCH, **USER)
    figures.note(f"queue_item_add_batch of {BATCH} at {size} (s)", time.perf_counter() - start)


def measure_adding(address: str, figures: Figures, size: int) -> None:
    """Add single items to a queue that had so many at the beginning."""
    request = encode("queue_item_add", item=ITEM, **USER)
    for clients in (1, 8):
        load = closed_loop(address, clients, request, SECONDS)
        name = f"queue_item_add at {size}, {clients} client{'s' if clients > 1 else ''}"
        figures.note(f"{name}: requests/s", load.rate)
        figures.note(f"{name}: p99 (ms)", load.percentile_ms(99))


def _reading(connection: Client, figures: Figures) -> None:
    """Read the whole queue as it stands, and after each of a number of changes."""
    request = encode("queue_get")
    for changed in (False, True):
        times = []
        for _ in range(READS):
            if changed:
                connection.ok("queue_item_move", pos="back", pos_dest="front")
            start = time.perf_counter()
            connection.send(request)
            connection.receive()
            times.append(time.perf_counter() - start)
        name = "just changed" if changed else "unchanged"
        figures.note(f"queue_get of {SIZES[-1]}, {name}: p50 (ms)", percentile_ms(sorted(times), 50))


def _changing(daemon: Daemon, connection: Client, figures: Figures) -> None:
    """Move and remove items anywhere in the queue."""
    fill_queue(connection, SIZES[-1])
    uids = [item["item_uid"] for item in connection.ok("queue_get")["items"]]
    random.Random(1).shuffle(uids)

    def moves() -> Iterator[bytes]:
        for uid in uids:
            yield encode("queue_item_move", uid=uid, pos_dest="front")

    def removals() -> Iterator[bytes]:
        for uid in uids:
            yield encode("queue_item_remove", uid=uid)

    for name, requests in (("move, to front,", moves()), ("remove", removals())):
        load = closed_loop(daemon.address, 1, requests, SECONDS)
        figures.note(f"queue_item_{name} at {SIZES[-1]}: requests/s", load.rate)
