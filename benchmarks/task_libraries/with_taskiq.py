"""taskiq on Redis."""

import os

from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

backend = RedisAsyncResultBackend(os.environ["BENCH_REDIS"])
broker = ListQueueBroker(os.environ["BENCH_REDIS"]).with_result_backend(backend)
WORKER = ("taskiq", "worker", "with_taskiq:broker", "--workers", "1", "--log-level", "ERROR")


@broker.task(task_name="noop")
async def noop() -> int:
    return 1


async def start() -> None:
    await broker.startup()


async def submit() -> str:
    return (await noop.kiq()).task_id


async def has_ended(handle: str) -> bool:
    return await backend.is_result_ready(handle)
