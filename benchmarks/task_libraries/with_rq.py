"""RQ with its worker that forks for each task, which is its default."""

import os

import redis
import rq
from noop import noop

connection = redis.Redis.from_url(os.environ["BENCH_REDIS"])
queue = rq.Queue(connection=connection)
WORKER = ("rq", "worker", "--url", os.environ["BENCH_REDIS"], "--quiet")


def submit() -> str:
    return queue.enqueue(noop).id


def has_ended(handle: str) -> bool:
    return rq.job.Job.fetch(handle, connection=connection).is_finished
