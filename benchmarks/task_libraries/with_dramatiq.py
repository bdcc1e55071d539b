"""dramatiq on Redis: one process with its usual 8 threads."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import ResultMissing, Results
from dramatiq.results.backends import RedisBackend

backend = RedisBackend(url=os.environ["BENCH_REDIS"])
broker = RedisBroker(url=os.environ["BENCH_REDIS"])
broker.add_middleware(Results(backend=backend))
dramatiq.set_broker(broker)
WORKER = ("dramatiq", "with_dramatiq", "--processes", "1")


@dramatiq.actor(store_results=True)
def noop() -> int:
    return 1


def submit() -> dramatiq.Message:
    return noop.send()


def has_ended(handle: dramatiq.Message) -> bool:
    try:
        handle.get_result(backend=backend)
    except ResultMissing:
        return False
    return True
