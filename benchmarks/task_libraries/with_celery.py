"""Celery on Redis."""

import os

from celery import Celery
from celery.result import AsyncResult

app = Celery("with_celery", broker=os.environ["BENCH_REDIS"], backend=os.environ["BENCH_REDIS"])
WORKER = ("celery", "--app", "with_celery", "worker", "--concurrency", "1", "--loglevel", "ERROR")


@app.task(name="noop")
def noop() -> int:
    return 1


def submit() -> str:
    return noop.delay().id


def has_ended(handle: str) -> bool:
    return AsyncResult(handle, app=app).successful()
