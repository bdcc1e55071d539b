"""bluesky-queueserver-api: the status of tasks, blocking and asynchronous.

The environment must have the function ``function_sleep``, as that of the demonstration has.
"""

from __future__ import annotations

import asyncio

from options import parse

from remanager_api import BFunc
from remanager_api.zmq import REManagerAPI
from remanager_api.zmq.aio import REManagerAPI as AsyncREManagerAPI

SECONDS = 0.2


def blocking(RM: REManagerAPI) -> None:
    """Synchronous code."""
    function = BFunc("function_sleep", SECONDS)
    reply = RM.function_execute(function)
    task_uid = reply["task_uid"]
    # Status of a single task
    reply = RM.task_status(task_uid)
    task_status = reply["status"]
    print(f"one: {task_status}, in detail: {reply['state']}")
    # Same result, but allows to submit multiple task UIDs
    reply = RM.task_status([task_uid])
    task_status = reply["status"][task_uid]
    print(f"of several: {task_status}")
    RM.wait_for_completed_task(task_uid, timeout=10)
    print(f"then: {RM.task_status(task_uid)['status']}, {RM.task_result(task_uid)['result']['return_value']}")


async def asynchronous(RM: AsyncREManagerAPI) -> None:
    """Asynchronous code."""
    function = BFunc("function_sleep", SECONDS)
    reply = await RM.function_execute(function)
    task_uid = reply["task_uid"]
    # Status of a single task
    reply = await RM.task_status(task_uid)
    task_status = reply["status"]
    print(f"one: {task_status}")
    # Same result, but allows to submit multiple task UIDs
    reply = await RM.task_status([task_uid])
    task_status = reply["status"][task_uid]
    print(f"of several: {task_status}")
    await RM.wait_for_completed_task(task_uid, timeout=10)
    print(f"unknown: {(await RM.task_status('none'))['status']}")


async def run_asynchronous(address: str, user_group: str, seconds: float) -> None:
    """Make the client in the loop that it belongs to."""
    async with AsyncREManagerAPI(zmq_control_addr=address, timeout_recv=seconds) as RM:
        RM.user_group = user_group
        await asynchronous(RM)


def main() -> None:
    """Run the example."""
    given = parse(__doc__)
    with REManagerAPI(zmq_control_addr=given.address, timeout_recv=given.timeout) as RM:
        RM.user_group = given.user_group
        if not RM.status()["worker_environment_exists"]:
            RM.environment_open()
            RM.wait_for_idle(timeout=60)
        blocking(RM)
    asyncio.run(run_asynchronous(given.address, given.user_group, given.timeout))


if __name__ == "__main__":
    main()
