"""What is in a run: files, symbolic links, directories, and what cannot be moved."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePosixPath

from remanager.data_movement.files import PART, path_of
from remanager.tasks import Permanent

MANIFEST = ".remanager-manifest.json"
JOURNAL = MANIFEST + ".journal"
LOCK = MANIFEST + ".lock"
OWN = frozenset({MANIFEST, MANIFEST + ".new", JOURNAL, LOCK})
"""Names of the files that tell of a run and are no part of it."""

EVERYTHING = ("**/*",)
MAX_NAME_BYTES = 255
"""The longest name of common file systems."""

MAX_TOLD = 10
"""So many names are told in an error."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A regular file of a run.

    Attributes
    ----------
    name : str
        Path relative to the run, with slashes; ``.`` for a run that is a single file.
    size : int
        Bytes.
    mtime_ns : int
        Time of the last change, ns since the epoch.
    """

    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a run, by name (``.`` for the run itself); symbolic links are not followed.

    Attributes
    ----------
    files : dict
        Regular files.
    links : dict
        What symbolic links say.
    directories : dict
        Whether the directory is empty.
    parts : list of str
        Unfinished copies.
    others : dict
        What else there is, in words.
    """

    files: dict[str, FileEntry] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    directories: dict[str, bool] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> list[str]:
        """Names of the directories with nothing in them."""
        return [name for name, is_empty in self.directories.items() if is_empty]

    def matching(self, patterns: Sequence[str]) -> Contents:
        """Return what matches one of the patterns; a run that is one file, or empty, always does."""
        if tuple(patterns) == EVERYTHING or "." in self.files or self.directories.get("."):
            return self
        split = [PurePosixPath(pattern).parts for pattern in patterns]

        def wanted(name: str) -> bool:
            return any(_matches(name.split("/"), pattern) for pattern in split)

        return Contents(
            {name: entry for name, entry in self.files.items() if wanted(name)},
            {name: to for name, to in self.links.items() if wanted(name)},
            {name: is_empty for name, is_empty in self.directories.items() if wanted(name)},
            [name for name in self.parts if wanted(name)],
            {name: what for name, what in self.others.items() if wanted(name)},
        )

    def immovable(self) -> dict[str, str]:
        """Return what cannot be copied, and why."""
        return {
            **self.others,
            **dict.fromkeys(self.parts, "an unfinished copy"),
            **{name: "its name is too long" for name in self.files if _is_too_long(name)},
            **{
                name: f"a link to '{to}', which is not in the run or not relative"
                for name, to in self.links.items()
                if not _stays_inside(name, to)
            },
        }


def entry_of(path: Path, name: str) -> FileEntry:
    """Return a file as it is now."""
    status = path.lstat()
    return FileEntry(name, status.st_size, status.st_mtime_ns)


def contents_of(run: Path) -> Contents:
    """Return what is in a run, sorted by name, without its manifest.

    Raises
    ------
    FileNotFoundError
        There is no such run.
    """
    found = Contents()
    waiting = ["."]
    while waiting:
        name = waiting.pop()
        path = path_of(run, name)
        try:
            waiting += _take(found, path, name)
        except FileNotFoundError:
            if name == ".":
                raise
    return found


def _take(found: Contents, path: Path, name: str) -> list[str]:
    """Note an entry of a run; return the names of what is in it, the last one first."""
    status = os.lstat(path)
    if not is_text(name):
        found.others[repr(name)] = "its name is not UTF-8"
    elif path.name.endswith(PART):
        found.parts.append(name)
    elif stat.S_ISREG(status.st_mode):
        found.files[name] = FileEntry(name, status.st_size, status.st_mtime_ns)
    elif stat.S_ISLNK(status.st_mode):
        found.links[name] = os.readlink(path)
    elif stat.S_ISDIR(status.st_mode):
        names = _names_in(path) - (OWN if name == "." else set())
        found.directories[name] = not names
        prefix = "" if name == "." else name + "/"
        return sorted((prefix + child for child in names), reverse=True)
    else:
        found.others[name] = "neither file, link nor directory"
    return []


def _names_in(directory: Path) -> set[str]:
    """Return the names in a directory; one that has become a link meanwhile is not followed."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return set(os.listdir(fd))
    finally:
        os.close(fd)


def is_text(name: str) -> bool:
    """Tell whether a name can be sent and written down: whether it is UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _matches(name: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "**":
        return any(_matches(name[skipped:], pattern[1:]) for skipped in range(len(name) + 1))
    return bool(name) and fnmatchcase(name[0], pattern[0]) and _matches(name[1:], pattern[1:])


def _is_too_long(name: str) -> bool:
    """Tell whether an unfinished copy of a file could not have its name."""
    return len(os.fsencode(PurePosixPath(name).name + PART)) > MAX_NAME_BYTES


def refuse_long_name(run: Path) -> None:
    """Refuse a single file that what tells of it cannot be named after.

    Raises
    ------
    Permanent
        Its name is too long.
    """
    if max(len(os.fsencode(run.name + own)) for own in OWN) > MAX_NAME_BYTES:
        raise Permanent(f"The name of '{run}' is too long for a run that is a single file")


def _stays_inside(name: str, to: str) -> bool:
    """Tell whether a link leads to a place in the run, wherever the run is.

    Only the first parts of what it says may be ``..``, so it does not matter where links on its way lead.
    """
    path = PurePosixPath(to)
    up = next((n for n, part in enumerate(path.parts) if part != ".."), len(path.parts))
    return not path.is_absolute() and ".." not in path.parts[up:] and up <= name.count("/") and is_text(to)


def without_manifests(names: Collection[str]) -> set[str]:
    """Return the names in a directory of runs that are no manifests of runs beside them."""
    return {name for name in names if not any(name.endswith(own) for own in OWN)}


def told(names: Mapping[str, str]) -> str:
    """Return names and what is the matter with them as a text; the first ones if they are many."""
    shown = ((f"'{name}'" if name != "." else "the run itself", why) for name, why in sorted(names.items()))
    first = [f"{name} ({why})" for name, why in islice(shown, MAX_TOLD)]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")


def check_patterns(patterns: object) -> None:
    """Refuse what is no list of patterns.

    Raises
    ------
    Permanent
        It is none, or a pattern is empty, absolute, or has ``..``.
    """
    if not isinstance(patterns, list | tuple) or not all(isinstance(p, str) for p in patterns):
        raise Permanent(f"The patterns must be a list of texts, such as ['*.raw'], not {patterns!r}")
    for pattern in patterns:
        if not pattern or pattern.startswith("/") or ".." in pattern.split("/"):
            raise Permanent(f"The pattern '{pattern}' is empty, or leads out of the run")
