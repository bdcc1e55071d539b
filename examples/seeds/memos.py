"""MemOS: poll the status of a task until it has ended.

Other than in the document, the task is submitted here first, so that there is one.
"""

from __future__ import annotations

import time

from options import parse

from remanager_api import BFunc
from remanager_api.views.memos import MemOSClient
from remanager_api.zmq import REManagerAPI


def main() -> None:
    """Run the example."""
    given = parse(__doc__)
    with REManagerAPI(zmq_control_addr=given.address, timeout_recv=given.timeout) as manager:
        manager.user, manager.user_group = given.user, given.user_group
        task_id = manager.task_submit(BFunc("mem_read", "tea is better than coffee"))["task_uid"]
        client = MemOSClient(manager)

        # 1. Overview of the system
        global_res = client.get_all_scheduler_status()
        print(f"System: {global_res.data['scheduler_summary']}")

        # 2. Queue of a user
        queue_res = client.get_task_queue_status(user_id=given.user)
        print(f"Waiting tasks: {queue_res.data['remaining_tasks_count']}")
        print(f"Tasks handed out, not completed: {queue_res.data['pending_tasks_count']}")

        # 3. Progress of a task: poll until it has ended
        while True:
            res = client.get_task_status(user_id=given.user, task_id=task_id)
            if res.code == 200:
                current_status = res.data[0]["status"]  # data is a list of statuses
                print(f"Task {task_id}: {current_status}")
                if current_status in ["completed", "failed", "cancelled"]:
                    break
            time.sleep(0.2)


if __name__ == "__main__":
    main()
