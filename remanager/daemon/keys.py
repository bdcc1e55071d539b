"""Keys of the server and of clients: their files, and who is behind a key."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import zmq

from remanager.daemon.sockets import check_curve_key
from remanager.model.errors import RemanagerError
from remanager.model.principal import Principal, Role
from remanager.store.filesystem import KEYS_NAME, SERVER_KEY_NAME

logger = logging.getLogger(__name__)

LEGACY = "legacy"
LEGACY_PUBLIC_KEY = "wt8[6a8eoXFRVL<l2JBbOzs(hcI%kRBIr0Do/eLC"
"""The public key that all clients of bluesky-queueserver have in common."""

_ANYBODY = Principal(LEGACY, Role.ADMIN)

CHECK_PERIOD_S = 1.0
_VERSION = 1
_MAX_NAME_CHARS = 100


class KeysError(RemanagerError):
    """A file with keys cannot be used, or a change of it makes no sense."""


@dataclass(frozen=True, slots=True)
class ClientKey:
    """The key of one client.

    Attributes
    ----------
    name : str
        Name of the principal.
    public_key : str
        Public key (40 characters of Z85). The private key is the client's alone.
    role : Role
        What the principal may do.
    user, user_group : str or None
        See :class:`remanager.model.principal.Principal`.
    time_added : float
        When the key was added (epoch seconds).
    time_revoked : float or None
        When it was taken back; None while it counts.
    """

    name: str
    public_key: str
    role: Role
    user: str | None = None
    user_group: str | None = None
    time_added: float = 0.0
    time_revoked: float | None = None

    @property
    def principal(self) -> Principal:
        """Who is behind the key."""
        return Principal(self.name, self.role, self.user, self.user_group)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of all clients.

    Attributes
    ----------
    legacy_role : Role
        What clients with the key that all stock clients share may do.
    clients : tuple of ClientKey
        Keys of single clients, revoked ones included.
    """

    legacy_role: Role = Role.ADMIN
    clients: tuple[ClientKey, ...] = ()

    def by_public_key(self) -> dict[str, Principal]:
        """Return who is behind each key that counts."""
        found = {k.public_key: k.principal for k in self.clients if k.time_revoked is None}
        if self.legacy_role is not Role.NONE:
            found[LEGACY_PUBLIC_KEY] = Principal(LEGACY, self.legacy_role)
        return found

    def add(self, key: ClientKey) -> Keys:
        """Return the keys with one more.

        Raises
        ------
        KeysError
            The name or the key is taken, or the name cannot be used.
        """
        name = key.name
        if not name or len(name) > _MAX_NAME_CHARS or not name.isprintable() or name in {LEGACY, "local"}:
            raise KeysError(f"{name!r:.200} cannot be the name of a client")
        for other in self.clients:
            if other.public_key == key.public_key:
                raise KeysError(f"the key belongs to {other.name!r} already")
            if other.name == name and other.time_revoked is None:
                raise KeysError(f"there is a key of {name!r} already: revoke it first")
        if key.public_key == LEGACY_PUBLIC_KEY:
            raise KeysError("this is the key that all stock clients share: it proves nothing")
        return replace(self, clients=(*self.clients, key))

    def revoke(self, name: str, now: float) -> Keys:
        """Return the keys without the one of ``name``; it stays on record.

        Raises
        ------
        KeysError
            There is no such key.
        """
        if not any(k.name == name and k.time_revoked is None for k in self.clients):
            raise KeysError(f"there is no key of {name!r} that counts")
        changed = (
            replace(k, time_revoked=now) if k.name == name and k.time_revoked is None else k
            for k in self.clients
        )
        return replace(self, clients=tuple(changed))


# ------------------------------------------------------------------------------------------- files


def _client_key(fields: dict[str, Any]) -> ClientKey:
    key = ClientKey(**{**fields, "role": Role(fields["role"])})
    texts = (key.name, key.public_key, *(t for t in (key.user, key.user_group) if t is not None))
    if not all(isinstance(t, str) for t in texts):
        raise TypeError("names and keys must be strings")
    return key


def read_keys(path: Path) -> Keys | None:
    """Read the keys of clients; None if there is no file.

    Raises
    ------
    KeysError
        The file cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
        if content["version"] != _VERSION:
            raise ValueError(f"version {content['version']!r} is not known")
        clients = tuple(_client_key(fields) for fields in content["clients"])
        return Keys(Role(content["legacy"]["role"]), clients)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise KeysError(f"The file with the keys of clients, {path}, cannot be used: {exc!r}") from exc


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, all of it or nothing."""
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


@contextlib.contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    """Keep other commands from changing the same files meanwhile."""
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def change_keys(state_dir: Path, change: Callable[[Keys], Keys]) -> Keys:
    """Change the file with the keys of clients; make it, and the directory, if need be.

    Parameters
    ----------
    state_dir : Path
        State directory of the daemon.
    change : callable
        Returns the new keys.

    Raises
    ------
    KeysError
        The file cannot be read, or the change makes no sense.
    OSError
        The file cannot be written.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = state_dir / KEYS_NAME
    with _exclusive(state_dir):
        keys = change(read_keys(path) or Keys())
        content = {
            "version": _VERSION,
            "legacy": {"role": keys.legacy_role},
            "clients": [asdict(k) for k in keys.clients],
        }
        _write_private(path, json.dumps(content, indent=2) + "\n")
    return keys


def read_server_key(state_dir: Path) -> str | None:
    """Return the server's private key from the state directory; None if there is none.

    Raises
    ------
    KeysError
        The file cannot be read, others may read it, or it holds no key.
    """
    path = state_dir / SERVER_KEY_NAME
    try:
        if path.stat().st_mode & 0o077:
            raise KeysError(f"{path} can be read by others: make a new key, or chmod 600 {path}")
        key = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise KeysError(f"The server's private key, {path}, cannot be read: {exc}") from exc
    try:
        check_curve_key(key)
    except RemanagerError as exc:
        raise KeysError(f"{path}: {exc}") from exc
    return key


def make_server_key(state_dir: Path, *, overwrite: bool) -> str:
    """Make a private key of the server in the state directory and return it.

    Raises
    ------
    KeysError
        There is one already.
    OSError
        It cannot be written.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = state_dir / SERVER_KEY_NAME
    with _exclusive(state_dir):
        if path.exists() and not overwrite:
            raise KeysError(f"there is a key in {path} already; clients would have to learn a new one")
        private = zmq.curve_keypair()[1].decode()
        _write_private(path, private + "\n")
    return private


# ------------------------------------------------------------------------------------------- daemon


class KeyRing:
    """Tells a running daemon who is behind a key; changes of the file count within a second.

    Without a file every client that knows the server's public key is the principal ``legacy`` and may do
    everything. Once there was a file, only what it says counts, even if it is damaged or removed later: then
    the last state that could be read.

    Parameters
    ----------
    path : Path
        File with the keys of clients.
    clock : callable
        Monotonic clock, s.

    Raises
    ------
    KeysError
        The file cannot be used.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._stamp = self._look()
        self._checked = clock()
        keys = read_keys(path)
        self._principals = None if keys is None else keys.by_public_key()

    def identify(self, public_key: str) -> Principal | None:
        """Return who is behind a public key; None if it does not count."""
        if self._clock() - self._checked >= CHECK_PERIOD_S:
            self.refresh()
        if self._principals is None:
            return _ANYBODY
        return self._principals.get(public_key)

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        self._checked = self._clock()
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            keys = read_keys(self._path)
        except KeysError as exc:
            logger.error("%s. What it said before still counts.", exc)
            return
        if keys is None:
            if self._principals is not None:
                logger.error("%s is gone. What it said before still counts.", self._path)
            return
        self._principals = keys.by_public_key()
        logger.info("The keys of clients have changed: %d count", len(self._principals))

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
