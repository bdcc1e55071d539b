"""The manifest of a run: what its files must be.

While a run is copied, what is known of each file is added to a journal beside the manifest. When the copy is
complete, the manifest is written anew and the journal goes. So each file costs a line, however many they are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from remanager.data_movement.files import ALGORITHM, FileEntry, sync_directory
from remanager.tasks import Permanent

MANIFEST = ".remanager-manifest.json"
JOURNAL = MANIFEST + ".journal"


@dataclass(frozen=True, slots=True)
class Known:
    """What a file must be: size (bytes), time of the last change (ns since the epoch), checksum."""

    size: int
    mtime_ns: int
    digest: str

    def is_like(self, entry: FileEntry) -> bool:
        """Tell whether a file looks the same, without reading it."""
        return (self.size, self.mtime_ns) == (entry.size, entry.mtime_ns)


@dataclass(slots=True)
class Manifest:
    """What the files of a run must be, by name."""

    files: dict[str, Known] = field(default_factory=dict)

    @staticmethod
    def place(run: Path) -> Path:
        """Return the path of the manifest: in the run, or beside a run that is a single file."""
        return _place(run, MANIFEST)

    @classmethod
    def read(cls, run: Path) -> Manifest:
        """Read the manifest of a run and its journal; an empty one if there is none.

        Raises
        ------
        Permanent
            It cannot be understood.
        """
        path = cls.place(run)
        files: dict[str, Known] = {}
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            _check(path, data["algorithm"])
            files = {name: Known(*known) for name, known in data["files"].items()}
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise Permanent(f"The manifest '{path}' is damaged: {exc}") from exc
        return cls(files | _read_journal(_place(run, JOURNAL)))

    def write(self, run: Path) -> None:
        """Write the manifest beside the data, at once or not at all; its journal is not needed any more."""
        path = self.place(run)
        new = path.with_name(path.name + ".new")
        files = {name: [k.size, k.mtime_ns, k.digest] for name, k in sorted(self.files.items())}
        with new.open("w", encoding="utf-8") as file:
            json.dump({"algorithm": ALGORITHM, "files": files}, file, indent=0)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        sync_directory(path.parent)
        _place(run, JOURNAL).unlink(missing_ok=True)


class Journal:
    """Keeps what is known of files until the manifest is written; the run must be there.

    It is not brought to disk: of what a power cut takes, the files are copied once more.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._fd: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    @staticmethod
    def exists(run: Path) -> bool:
        """Tell whether a run has a journal that a break has left."""
        return _place(run, JOURNAL).exists()

    def add(self, name: str, known: Known) -> None:
        """Keep what is known of a file."""
        if self._fd is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._fd = os.open(_place(self._run, JOURNAL), flags, 0o644)
            self._line(self._fd, ALGORITHM)
        self._line(self._fd, [name, known.size, known.mtime_ns, known.digest])

    @staticmethod
    def _line(fd: int, value: object) -> None:
        # With a line break on both sides, what a break has cut off spoils no other line.
        os.write(fd, f"\n{json.dumps(value)}\n".encode())


def _read_journal(path: Path) -> dict[str, Known]:
    """Return what a journal tells of files; lines that make no sense were cut off."""
    found: dict[str, Known] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return found
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        match value:
            case str(algorithm):
                _check(path, algorithm)
            case [str(name), int(size), int(mtime_ns), str(digest)]:
                found[name] = Known(size, mtime_ns, digest)
    return found


def _place(run: Path, name: str) -> Path:
    return run / name if run.is_dir() else run.with_name(run.name + name)


def _check(path: Path, algorithm: object) -> None:
    if algorithm != ALGORITHM:
        raise Permanent(f"The manifest '{path}' has checksums of another kind: {algorithm}")


def is_manifest(name: str) -> bool:
    """Tell whether a file is a manifest, or its journal, by its name."""
    return name.endswith((MANIFEST, MANIFEST + ".new", JOURNAL))


def without_manifest(entries: list[FileEntry]) -> list[FileEntry]:
    """Return the files that are data."""
    return [e for e in entries if not is_manifest(e.name)]


def missing_or_other(known: Mapping[str, Known], entries: list[FileEntry]) -> list[str]:
    """Return the names of files that are missing or have another size."""
    sizes = {e.name: e.size for e in entries}
    return [name for name, k in known.items() if sizes.get(name) != k.size]
