"""huey on SQLite."""

import os
from pathlib import Path

from huey import SqliteHuey
from huey.api import Result

app = SqliteHuey(filename=str(Path(os.environ["BENCH_DIRECTORY"]) / "huey.db"))
WORKER = ("huey_consumer", "with_huey.app", "--workers", "1")


@app.task()
def noop() -> int:
    return 1


def submit() -> Result:
    return noop()


def has_ended(handle: Result) -> bool:
    return handle.get(preserve=True) is not None
