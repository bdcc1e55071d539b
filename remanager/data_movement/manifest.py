"""The manifest of a run: what its files must be."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from remanager.data_movement.files import ALGORITHM, FileEntry, sync_directory
from remanager.tasks import Permanent

MANIFEST = ".remanager-manifest.json"


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
        return run / MANIFEST if run.is_dir() else run.with_name(run.name + MANIFEST)

    @classmethod
    def read(cls, run: Path) -> Manifest:
        """Read the manifest of a run; an empty one if there is none.

        Raises
        ------
        Permanent
            It cannot be understood.
        """
        path = cls.place(run)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["algorithm"] != ALGORITHM:
                raise Permanent(f"The manifest '{path}' has checksums of another kind: {data['algorithm']}")
            return cls({name: Known(*known) for name, known in data["files"].items()})
        except FileNotFoundError:
            return cls()
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise Permanent(f"The manifest '{path}' is damaged: {exc}") from exc

    def write(self, run: Path) -> None:
        """Write the manifest beside the data, at once or not at all."""
        path = self.place(run)
        new = path.with_name(path.name + ".new")
        files = {name: [k.size, k.mtime_ns, k.digest] for name, k in sorted(self.files.items())}
        with new.open("w", encoding="utf-8") as file:
            json.dump({"algorithm": ALGORITHM, "files": files}, file, indent=0)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        sync_directory(path.parent)


def is_manifest(name: str) -> bool:
    """Tell whether a file is a manifest, by its name."""
    return name.endswith((MANIFEST, MANIFEST + ".new"))


def without_manifest(entries: list[FileEntry]) -> list[FileEntry]:
    """Return the files that are data."""
    return [e for e in entries if not is_manifest(e.name)]


def missing_or_other(known: Mapping[str, Known], entries: list[FileEntry]) -> list[str]:
    """Return the names of files that are missing or have another size."""
    sizes = {e.name: e.size for e in entries}
    return [name for name, k in known.items() if sizes.get(name) != k.size]
