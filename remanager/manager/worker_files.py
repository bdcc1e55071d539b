"""Files in the runtime directory: the settings of each worker, what it has begun, and how it crashed."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection
from pathlib import Path

MAX_CRASH_CHARS = 16_000
_MAX_CRASH_READ = 1_000_000
_MAX_CRASH_LINE = 500
_AT_FAULT = ("Fatal Python error", "Current thread")


def settings_path(runtime_dir: Path, worker_uid: str) -> Path:
    """Return the path of the settings of a worker."""
    return runtime_dir / f"worker-{worker_uid}.json"


def crash_path(runtime_dir: Path, worker_uid: str) -> Path:
    """Return where a worker that crashes leaves the stacks of its threads."""
    return runtime_dir / f"worker-{worker_uid}.crash"


def read_crash(runtime_dir: Path, worker_uid: str) -> str:
    """Return the stacks that a worker left as it crashed, that of the thread at fault first.

    The text is empty if there are none, and at most ``MAX_CRASH_CHARS`` long.
    """
    try:
        with crash_path(runtime_dir, worker_uid).open(errors="backslashreplace") as file:
            text = file.read(_MAX_CRASH_READ)
    except OSError:
        return ""
    # The thread that began last comes first in the file, and the main thread last.
    blocks = sorted(text.strip().split("\n\n"), key=lambda block: not block.startswith(_AT_FAULT))
    lines = "\n\n".join(blocks).splitlines()
    return "\n".join(line[:_MAX_CRASH_LINE] for line in lines)[:MAX_CRASH_CHARS]


def write_settings(runtime_dir: Path, worker_uid: str, text: str) -> Path:
    """Write the settings of a worker (JSON text), which nobody else may read; return the path."""
    path = settings_path(runtime_dir, worker_uid)
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def is_held(path: Path) -> bool:
    """Tell whether a worker that lives holds this very file of its settings, not another one like it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def manager_directory(path: Path) -> Path | None:
    """Return where the worker with these settings looks for the manager's sockets; None if nobody knows."""
    try:
        return Path(json.loads(path.read_text())["link_address"]).parent
    except OSError:
        return None


def remove_files(runtime_dir: Path, worker_uid: str) -> None:
    """Delete the files of a worker that is gone."""
    for path in runtime_dir.glob(f"worker-{worker_uid}.*"):
        path.unlink(missing_ok=True)


def forget_others(runtime_dir: Path, worker_uids: Collection[str]) -> None:
    """Delete the files of all workers but these: what workers of former managers have left behind."""
    for path in runtime_dir.glob("worker-*"):
        if path.stem.removeprefix("worker-") not in worker_uids:
            path.unlink(missing_ok=True)
