"""The archive: deleted tasks as JSON lines in files that rotate."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path

from remanager.store.task_rows import TaskRecord

FILE_NAME = "tasks.jsonl"
_JSON_FIELDS = frozenset(
    {"pause_reasons", "depends", "options", "properties", "progress", "actual_io", "result", "body"}
)
_INSIDE = frozenset({"id", "queue_rank", "history_seq", "has_result"})


class Archive:
    """Appends lines to ``tasks.jsonl``; when it is full it becomes ``tasks.1.jsonl``, and so on.

    A task may appear twice if the manager is killed between its archiving and its deletion.

    Parameters
    ----------
    directory : Path
        Created with mode 0700 unless it exists.
    max_bytes : int
        Size at which a file is full; one line may exceed it.
    max_files : int
        Most files; the oldest goes.
    """

    def __init__(self, directory: Path, *, max_bytes: int = 64 << 20, max_files: int = 20) -> None:
        self.path = directory / FILE_NAME
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._lock = threading.Lock()

    def append(self, lines: Iterable[str]) -> None:
        """Append lines (without their ends); they are on disk when it returns.

        Raises
        ------
        OSError
            They could not be written; some may have been.
        """
        with self._lock:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part: list[bytes] = []
            size = self.path.stat().st_size if self.path.exists() else 0
            for line in lines:
                data = line.encode("utf-8", "replace") + b"\n"
                if size and size + len(data) > self._max_bytes:
                    self._write(part)
                    self._rotate()
                    part, size = [], 0
                part.append(data)
                size += len(data)
            self._write(part)

    def files(self) -> list[Path]:
        """Return the files that exist, newest first."""
        return [path for n in range(self._max_files) if (path := self._numbered(n)).exists()]

    def _write(self, part: list[bytes]) -> None:
        if not part:
            return
        new = not self.path.exists()
        with open(
            os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "wb"
        ) as file:
            file.writelines(part)
            file.flush()
            os.fsync(file.fileno())
        if new:
            self._sync_directory()

    def _rotate(self) -> None:
        for number in range(self._max_files - 1, -1, -1):
            path = self._numbered(number)
            if not path.exists():
                continue
            if number == self._max_files - 1:
                path.unlink()
            else:
                path.rename(self._numbered(number + 1))
        self._sync_directory()

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"tasks.{number}.jsonl") if number else self.path

    def _sync_directory(self) -> None:
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def archive_line(record: TaskRecord, tags: dict[str, str], log: list[dict[str, object]]) -> str:
    """Return what is kept of a task as JSON text: all that it has, but for its return value."""
    kept: dict[str, object] = {}
    for name, value in zip(record._fields, record, strict=True):
        if value is None or value in {"", 0} or name in _INSIDE:
            continue
        kept[name] = _parsed(value) if name in _JSON_FIELDS else value
    if tags:
        kept["tags"] = tags
    if log:
        kept["transitions"] = log
    return json.dumps(kept)


def _parsed(value: object) -> object:
    try:
        return json.loads(str(value))
    except ValueError:  # a script's body, as it was sent
        return value
