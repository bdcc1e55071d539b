from __future__ import annotations

from pathlib import Path

import pytest

from remanager.store import NetworkFileSystem, StateDirUnusable, filesystem

MOUNTINFO = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /proc rw - proc proc rw
41 22 0:40 / /home rw,relatime shared:5 - nfs4 server:/home rw,vers=4.2
42 41 254:3 / /home/local rw - xfs /dev/vdb rw
43 22 0:41 / /mnt/with\040space rw master:2 - fuse.sshfs me@host:/ rw
44 22 254:4 / /stack rw - ext4 /dev/vdc rw
45 44 0:42 / /stack rw - cifs //server/share rw
garbage
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/var/lib", "ext4"),
        ("/home/me", "nfs4"),
        ("/home/local/state", "xfs"),
        ("/homeless", "ext4"),
        ("/mnt/with space/x", "fuse.sshfs"),
        ("/stack/state", "cifs"),
    ],
)
def test_filesystem_type(path: str, kind: str) -> None:
    assert filesystem.filesystem_type(Path(path), MOUNTINFO) == kind


def test_filesystem_type_unknown() -> None:
    assert filesystem.filesystem_type(Path("/x"), "") is None


def test_network_filesystem_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / {tmp_path.resolve()} rw - nfs4 s:/ rw\n")
    monkeypatch.setattr(filesystem, "MOUNTINFO", mountinfo)
    with pytest.raises(NetworkFileSystem, match=r"network file system \(nfs4\).*--state-dir"):
        filesystem.refuse_network_filesystem(tmp_path)


def test_local_and_unknown_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mountinfo = tmp_path / "mountinfo"
    monkeypatch.setattr(filesystem, "MOUNTINFO", mountinfo)
    filesystem.refuse_network_filesystem(tmp_path)  # the system does not tell
    mountinfo.write_text("1 0 0:1 / / rw - ext4 x rw\n")
    filesystem.refuse_network_filesystem(tmp_path)


def test_directory_is_private(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "state"
    filesystem.prepare_directory(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    filesystem.prepare_directory(directory)


def test_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateDirUnusable, match="cannot be created"):
        filesystem.prepare_directory(tmp_path / "file")
