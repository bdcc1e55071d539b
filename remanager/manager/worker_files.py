"""Files in the runtime directory: the settings of each worker, and beside them what it has begun."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path


def settings_path(runtime_dir: Path, worker_uid: str) -> Path:
    """Return the path of the settings of a worker."""
    return runtime_dir / f"worker-{worker_uid}.json"


def write_settings(runtime_dir: Path, worker_uid: str, text: str) -> Path:
    """Write the settings of a worker (JSON text), which nobody else may read; return the path."""
    path = settings_path(runtime_dir, worker_uid)
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def forget_others(runtime_dir: Path, worker_uids: Collection[str]) -> None:
    """Delete the files of all workers but these: what workers of former managers have left behind."""
    for path in runtime_dir.glob("worker-*"):
        if path.stem.removeprefix("worker-") not in worker_uids:
            path.unlink(missing_ok=True)
