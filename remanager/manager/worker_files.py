"""Files in the runtime directory by which the manager tells a worker its settings."""

from __future__ import annotations

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
