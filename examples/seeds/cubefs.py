"""CubeFS: figures of background tasks, a manual migration, details of a task, progress of a disk.

The chunks are runs of an instrument, the disks directories below ``--directory``, which the daemon must be
allowed to touch. In place of ``curl`` there are requests; the answers have the shapes of the document.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from options import parse

from remanager_api import BFunc
from remanager_api.views import cubefs
from remanager_api.zmq import REManagerAPI


def make_runs(directory: Path, number: int) -> Path:
    """Make a directory with runs."""
    for n in range(number):
        run = directory / f"run{n}"
        run.mkdir(parents=True)
        (run / "data.raw").write_bytes(bytes(50_000))
    return directory


def show(path: str, answer: object) -> None:
    """Print an answer as the document does."""
    print(f"\nGET {path}\n{json.dumps(answer, indent=2)}")


def main() -> None:
    """Run the example."""
    given = parse(__doc__, directory="a directory that the daemon may touch; a new one is made in it")
    Path(given.directory).mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(dir=Path(given.directory).resolve()))
    disk, other = make_runs(root / "disk-2678", 4), root / "disk-6027"
    other.mkdir()
    with REManagerAPI(zmq_control_addr=given.address, timeout_recv=given.timeout) as manager:
        manager.user, manager.user_group = given.user, given.user_group
        show("/stats", cubefs.stats(manager.stats(["types"], scope="local")))
        show("/stats/leader", cubefs.stats(manager.stats(["types"], scope="leader")))

        # POST /manual/migrate/task/add: here the answer has the id of the task
        copy = BFunc("copy_run", str(disk / "run0"), str(other / "run0-copy"))
        task_uid = manager.task_submit(copy, {"tags": {"disk": str(disk), "run": "run0"}})["task_uid"]
        manager.task_wait(task_uid, timeout=30.0)
        show(f"/task/detail/manual_migrate/{task_uid}", cubefs.task_detail(manager.task_info(task_uid)))

        # Take a disk offline: each of its runs is moved by a task of its own
        drop = BFunc("drain_directory", str(disk), str(other))
        task_uid = manager.task_submit(drop)["task_uid"]
        manager.task_wait(task_uid, timeout=60.0)
        selector = cubefs.migrating_selector("disk_drop", str(disk))
        show(
            f"/stats/disk/migrating?task_type=disk_drop&disk_id={disk}",
            cubefs.disk_migrating(manager.job_status(selector=selector)),
        )
        show("/stats", cubefs.stats(manager.stats(["types"])))


if __name__ == "__main__":
    main()
