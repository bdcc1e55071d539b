"""The state directory: creating it and refusing file systems on which SQLite is not safe."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from remanager.store.errors import NetworkFileSystem, StateDirUnusable

ROOM_BYTES = 1 << 20
"""What must be free on the disk at the start, so that changes are accepted."""

KEYS_NAME = "keys.json"
SERVER_KEY_NAME = "server.key"
"""Files of the state directory beside the database, which cannot be made again."""

MOUNTINFO = Path("/proc/self/mountinfo")

NETWORK_TYPES = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "9p", "afs", "coda", "ceph", "lustre", "gpfs"),
        *("beegfs", "panfs", "pvfs2", "orangefs", "ocfs2", "gfs2", "glusterfs", "virtiofs"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.rclone", "fuse.juicefs"),
        *("fuse.davfs", "davfs", "fuse.curlftpfs", "fuse.smbnetfs", "fuse.gcsfuse"),
    }
)
"""Types (as in ``/proc/self/mountinfo``) on which locks or shared memory are not reliable."""

_OCTAL = re.compile(r"\\([0-7]{3})")


def prepare_directory(directory: Path) -> None:
    """Create the state directory (mode 0700) unless it exists.

    Raises
    ------
    StateDirUnusable
        It cannot be created.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise StateDirUnusable(
            f"The state directory {str(directory)!r} cannot be created: {exc.strerror or exc}. "
            f"Choose another one with --state-dir."
        ) from exc


def has_room(directory: Path) -> bool:
    """Tell whether the disk of a directory has room for changes; where that is not known, it has."""
    try:
        return shutil.disk_usage(directory).free >= ROOM_BYTES
    except OSError:
        return True


def filesystem_type(path: Path, mountinfo: str) -> str | None:
    """Return the type of the file system that holds a path.

    Parameters
    ----------
    path : Path
        Absolute path without symbolic links.
    mountinfo : str
        Text in the format of ``/proc/self/mountinfo``.

    Returns
    -------
    str or None
        None if no mount covers the path.
    """
    best, best_type = -1, None
    for line in mountinfo.splitlines():
        left, separator, right = line.partition(" - ")
        fields = left.split(" ")
        if not separator or len(fields) < 5:
            continue
        mount_point = Path(_OCTAL.sub(lambda m: chr(int(m[1], 8)), fields[4]))
        # Of two mounts on the same directory the later one is visible.
        if path.is_relative_to(mount_point) and len(mount_point.parts) >= best:
            best, best_type = len(mount_point.parts), right.split(" ", 1)[0]
    return best_type


def refuse_network_filesystem(directory: Path) -> None:
    """Raise unless the directory is on a local file system.

    Where the system does not tell (no ``/proc``), the directory is taken as local.

    Raises
    ------
    NetworkFileSystem
        The directory is on a network file system.
    """
    try:
        mountinfo = MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return
    kind = filesystem_type(directory.resolve(), mountinfo)
    if kind in NETWORK_TYPES:
        raise NetworkFileSystem(
            f"The state directory {str(directory)!r} is on a network file system ({kind}), where SQLite's "
            f"locks and shared memory are not reliable. Choose a directory on a local disk with --state-dir."
        )
