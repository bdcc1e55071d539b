"""What a destination holds already, compared with the run that shall go there."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from remanager.data_movement.contents import Contents, contents_of, told
from remanager.data_movement.files import PART, Step, digest_if_begun_by, path_of
from remanager.data_movement.manifest import Known, Manifest
from remanager.tasks import Permanent


@dataclass(slots=True)
class Comparison:
    """What a destination holds, by name.

    Attributes
    ----------
    manifest : Manifest
        What is known of it.
    contents : Contents
        What is in it.
    there : dict
        Files that have been copied already.
    other : dict
        What the run does not have like this, and what that is.
    blocked : dict
        What nothing can replace.
    left : list of str
        Unfinished copies of files that the run does not have any more.
    """

    manifest: Manifest = field(default_factory=Manifest)
    contents: Contents = field(default_factory=Contents)
    there: dict[str, Known] = field(default_factory=dict)
    other: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def refuse(self, source: Path, target: Path, overwrite: bool) -> None:
        """Refuse a destination that holds something else than an earlier copy of the run.

        Raises
        ------
        Permanent
            It does.
        """
        if self.blocked:
            raise Permanent(f"'{target}' cannot take '{source}': {told(self.blocked)}")
        if self.other and not overwrite:
            raise Permanent(
                f"'{target}' holds other content than '{source}': {told(self.other)}. Nothing was changed. "
                "With overwrite=True files that differ are replaced"
            )


def compare(source: Path, run: Contents, target: Path, read: bool, step: Step) -> Comparison:
    """Compare a destination with a run.

    An earlier copy of the run may hold less, as files were added to the run or to their ends since. It may
    also hold more, if its manifest knows it: a move that was interrupted has deleted it from the run.

    Parameters
    ----------
    read : bool
        Read files, too, whose size and time tell that they are the same.
    """
    if not os.path.lexists(target):
        return Comparison()
    found = Comparison(Manifest.read(target), contents_of(target))
    theirs, manifest = found.contents, found.manifest
    for name in theirs.directories.keys() & (run.files.keys() | run.links.keys()):
        found.blocked[name] = "a directory here, none in the run"
    for name in run.directories.keys() & (theirs.files.keys() | theirs.links.keys() | theirs.others.keys()):
        found.blocked[name] = "a directory in the run, none here"
    _compare_parts(run, target, found)
    found.other.update(theirs.others)
    for name, to in theirs.links.items():
        if name in run.links or name in run.files:
            if run.links.get(name) != to:
                found.other[name] = "differs"
        elif name not in manifest.links:
            found.other[name] = "not in the run"
    for name in theirs.files.keys() - found.blocked.keys():
        if name in run.files:
            _compare_file(source, run, target, name, found, read, step)
        elif name in run.links:
            found.other[name] = "differs"
        elif name not in manifest.files:
            found.other[name] = "not in the run"
    if run.files and manifest.files and not run.files.keys() & manifest.files.keys():
        found.other.update(dict.fromkeys(manifest.files, "of another run"))
    return found


def _compare_parts(run: Contents, target: Path, found: Comparison) -> None:
    for name in found.contents.parts:
        path = path_of(target, name)
        if path.is_symlink() or not path.is_file():
            found.blocked[name] = "no file, but named like an unfinished copy"
        elif name.removesuffix(PART) not in run.files:
            found.left.append(name)


def _compare_file(
    source: Path, run: Contents, target: Path, name: str, found: Comparison, read: bool, step: Step
) -> None:
    entry, there = run.files[name], found.contents.files[name]
    known = found.manifest.files.get(name)
    if known is not None and not read and known.is_like(entry) and there.size == entry.size:
        found.there[name] = known
        return
    digest = digest_if_begun_by(path_of(source, name), path_of(target, name), entry.size, step)
    if digest is None:
        found.other[name] = "differs"
    elif there.size == entry.size:
        found.there[name] = Known(entry.size, entry.mtime_ns, digest)
