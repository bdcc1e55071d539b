"""A run on its way to its copy."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

from remanager.data_movement.comparison import Comparison, compare
from remanager.data_movement.contents import (
    Contents,
    FileEntry,
    contents_of,
    entry_of,
    refuse_long_name,
    told,
)
from remanager.data_movement.files import (
    copy_file,
    make_directories,
    make_directory_like,
    parent_of,
    path_of,
    remove_part,
    sync_directory,
    sync_file,
)
from remanager.data_movement.manifest import Journal, Known, Manifest, writing
from remanager.tasks import Context, Permanent, Skip

CHECKPOINT_S = 2.0
"""After this time what was done is kept for the next attempt, s."""


class Traffic:
    """Counts the bytes that this attempt reads and writes, and lets the task stop between two pieces."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    def piece(self, size: int) -> None:
        """Count a piece that was read."""
        self._ctx.check_cancelled()
        self._ctx.record_io(disk_read=size)

    def copied(self, size: int) -> None:
        """Count a piece that was read and written."""
        self.piece(size)
        self._ctx.record_io(disk_write=size)

    def kept(self, size: int) -> None:
        """Count a piece that was there already, and was compared with the source."""
        self.piece(size)
        self._ctx.record_io(disk_read=size)


class Meter(Traffic):
    """Reports how many bytes and files are done, too, with those that are there already."""

    def __init__(self, ctx: Context, entries: Sequence[FileEntry]) -> None:
        super().__init__(ctx)
        self._kept_at = time.monotonic()
        self.done_count = 0
        self.done_size = 0
        self._size_of_files = 0
        ctx.progress(
            done_count=0, total_count=len(entries), done_size=0, total_size=sum(e.size for e in entries)
        )

    def piece(self, size: int) -> None:
        """Count a piece that was read."""
        super().piece(size)
        self.done_size += size
        self._ctx.progress(done_size=self.done_size)

    def file(self, entry: FileEntry) -> None:
        """Count a file as a whole, however much of it was read."""
        self.done_count += 1
        self._size_of_files += entry.size
        self.done_size = self._size_of_files
        self._ctx.progress(done_count=self.done_count, done_size=self.done_size, message=entry.name)

    def keep(self, value: Any) -> None:
        """Keep a value for the next attempt, not too often."""
        if time.monotonic() - self._kept_at >= CHECKPOINT_S:
            self._kept_at = time.monotonic()
            self._ctx.checkpoint(value)


class Copy:
    """A run on its way to its copy.

    Raises
    ------
    Permanent
        The run has what cannot be copied.
    Skip
        Nothing of the run matches the patterns.
    """

    def __init__(self, source: Path, target: Path, patterns: Sequence[str], ctx: Context) -> None:
        self._source, self._target, self._patterns, self._ctx = source, target, patterns, ctx
        self._traffic = Traffic(ctx)
        self._whole = contents_of(source)
        self._chosen = self._whole.matching(patterns)
        self._refuse_immovable()
        self._origin = Manifest()
        self._found = Comparison()
        self._entries: list[FileEntry] = []
        self._copied: list[str] = []
        self._made = 0
        self._links = 0

    @property
    def changed(self) -> bool:
        """Whether anything was copied."""
        return bool(self._copied or self._made)

    def _refuse_immovable(self) -> None:
        chosen = self._chosen
        refused = chosen.immovable()
        if refused:
            raise Permanent(f"'{self._source}' has what cannot be copied: {told(refused)}")
        if "." in chosen.files:
            for place in (self._source, self._target):
                refuse_long_name(place)
        if Journal.exists(self._source):
            raise Permanent(f"'{self._source}' is itself an unfinished copy")
        if not (chosen.files or chosen.links or chosen.empty):
            raise Skip(f"'{self._source}' has nothing that matches {list(self._patterns)}")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other tasks from writing the target: from before it is compared until all is done."""
        makes = "." in self._whole.directories and not os.path.lexists(self._target)
        if makes:
            make_directory_like(self._source, self._target, ".")
            self._made += 1
        make_directories(self._target.parent)
        try:
            with writing(self._target):
                yield
        except BaseException:
            if makes:
                with suppress(OSError):  # it has something in it
                    self._target.rmdir()
            raise

    def run(self, *, verify: bool, overwrite: bool, moving: bool = False) -> None:
        """Copy what is not there yet, and write the manifest."""
        whole, chosen = self._whole, self._chosen
        found = compare(self._source, whole, self._target, verify, self._traffic.kept)
        found.refuse(self._source, self._target, overwrite)
        self._found, self._entries = found, list(chosen.files.values())
        self._origin = Manifest.read(self._source)
        self._refuse_damaged()
        before = deepcopy(found.manifest)
        for name in found.left:
            remove_part(path_of(self._target, name))
        self._copy_files(verify)
        self._make_others(chosen)
        if moving or self.changed:
            found.manifest.moved_from = str(self._source) if moving else ""
        if found.manifest != before or Journal.exists(self._target):
            found.manifest.write(self._target)

    def _refuse_damaged(self) -> None:
        """Refuse a run that is not what its manifest says, as far as it is known before files are read.

        A copy of it would get a manifest by which it is healthy.
        """
        found, origin = self._found, self._origin
        wrong = {}
        for entry in self._entries:
            digests = {m.digest_of(entry) for m in (origin, found.manifest)}
            if entry.name in found.there:
                digests.add(found.there[entry.name].digest)
            known = origin.files.get(entry.name)
            cut = known is not None and known.mtime_ns == entry.mtime_ns and known.size != entry.size
            if cut or len(digests - {None}) > 1:
                wrong[entry.name] = "damaged"
        lost = {
            name: FileEntry(name, known.size, known.mtime_ns)
            for name, known in origin.files.items()
            if name not in self._whole.files
            and not (name in found.manifest.files and name in found.contents.files)
        }
        wrong |= dict.fromkeys(Contents(lost).matching(self._patterns).files, "missing")
        if wrong:
            raise Permanent(f"'{self._source}' is not what its manifest says: {told(wrong)}. Repair it first")

    def _expected(self, entry: FileEntry) -> str | None:
        return self._origin.digest_of(entry) or self._found.manifest.digest_of(entry)

    def result(self) -> dict[str, Any]:
        """Return what the task tells."""
        known = self._found.manifest.files
        return {
            "files": len(self._copied),
            "bytes": sum(known[name].size for name in self._copied),
            "links": self._links,
            "files_there": len(self._entries) - len(self._copied),
            "manifest": str(Manifest.place(self._target)),
        }

    def sync(self) -> None:
        """Bring to disk what was at the target before; what was copied now is there already."""
        for name in self._found.there:
            self._ctx.check_cancelled()
            sync_file(path_of(self._target, name))
        for name in contents_of(self._target).directories:
            sync_directory(path_of(self._target, name))
        sync_directory(self._target.parent)

    def discard(self, names: Collection[str]) -> None:
        """Remove copies that this attempt has made of files that have changed since: the next one shall."""
        manifest = self._found.manifest
        for name in self._copied:
            if name in names and name not in self._found.contents.files:
                path_of(self._target, name).unlink(missing_ok=True)
                del manifest.files[name]
        manifest.moved_from = ""
        manifest.write(self._target)

    def _copy_files(self, verify: bool) -> None:
        meter, found = Meter(self._ctx, self._entries), self._found
        check = self._traffic.piece if verify else None
        with Journal(self._target) as journal:
            for entry in self._entries:
                name = entry.name
                if name in found.there:
                    found.manifest.files[name] = found.there[name]
                else:
                    source = path_of(self._source, name)
                    now = entry_of(source, name)
                    taken = name in found.contents.files or name in found.other
                    goal = path_of(self._target, name)
                    if name != ".":
                        make_directory_like(self._source, self._target, parent_of(name))
                    digest = copy_file(
                        source,
                        goal,
                        meter.copied,
                        kept=meter.kept,
                        check=check,
                        replace=taken,
                        expected=self._expected(now),
                    )
                    found.manifest.files[name] = Known(now.size, now.mtime_ns, digest)
                    found.manifest.links.pop(name, None)
                    journal.add(name, found.manifest.files[name])
                    self._copied.append(name)
                meter.file(entry)

    def _make_others(self, chosen: Contents) -> None:
        manifest, there = self._found.manifest, self._found.contents
        for name in chosen.empty:
            if name not in there.directories:
                make_directory_like(self._source, self._target, name)
                self._made += 1
        manifest.directories = sorted({*manifest.directories, *chosen.empty})
        for name, to in chosen.links.items():
            if there.links.get(name) != to:
                goal = path_of(self._target, name)
                make_directory_like(self._source, self._target, parent_of(name))
                if name in self._found.other:
                    goal.unlink(missing_ok=True)
                goal.symlink_to(to)
                sync_directory(goal.parent)
                self._links, self._made = self._links + 1, self._made + 1
            manifest.links[name] = to
            manifest.files.pop(name, None)
