"""What ``remanager doctor`` looks at: one function a topic, each returning what it found."""

from __future__ import annotations

import ast
import fcntl
import importlib.util
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import zmq

from remanager.daemon.keys import read_keys, read_server_key
from remanager.daemon.scheduling import has_priority
from remanager.daemon.scopes import in_scope
from remanager.daemon.settings import Settings
from remanager.daemon.sockets import AddressError, bind, check_curve_key
from remanager.model.errors import RemanagerError
from remanager.model.principal import Role
from remanager.plans.permissions import load_permissions
from remanager.store.errors import NetworkFileSystem
from remanager.store.filesystem import KEYS_NAME, has_room, refuse_network_filesystem
from remanager.store.lock import LOCK_NAME
from remanager.store.log_file import check_log
from remanager.store.migrate import check_database, load_migrations
from remanager.store.store import DATABASE_NAME, OLDEST_SQLITE

LITTLE_SPACE_BYTES = 1 << 30
IMPORT_TIMEOUT_S = 120.0
SCOPE_TIMEOUT_S = 20.0
WORKER_MODULES = ("bluesky", "ophyd", "matplotlib", "zmq", "msgpack")


class Level(StrEnum):
    """How a finding is meant."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    Attributes
    ----------
    level : Level
        How it is meant.
    topic : str
        What was looked at.
    text : str
        What was found.
    remedy : str
        What to do; empty if there is nothing to do.
    """

    level: Level
    topic: str
    text: str
    remedy: str = ""


Findings = Iterator[Finding]


def installation(_settings: Settings) -> Findings:
    """Look at versions of Python, ZeroMQ and SQLite."""
    text = (
        f"Python {sys.version.split()[0]}, libzmq {zmq.zmq_version()} (pyzmq {zmq.pyzmq_version()}), "
        f"SQLite {sqlite3.sqlite_version}"
    )
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        yield Finding(Level.FAULT, "installation", text, f"Use a Python with SQLite {oldest} or later.")
    elif not zmq.has("curve"):
        remedy = "Encryption is not possible: install a pyzmq with libsodium."
        yield Finding(Level.WARNING, "installation", text, remedy)
    else:
        yield Finding(Level.OK, "installation", text)


def state_directory(settings: Settings) -> Findings:
    """Look at the state directory: does it exist, is it writable, local, private, with room."""
    topic, directory = "state directory", settings.state_dir
    existing = next(p for p in (directory, *directory.parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        remedy = "Correct its permissions, or choose another one with --state-dir."
        yield Finding(Level.FAULT, topic, f"{existing} is not a directory to write to", remedy)
        return
    try:
        refuse_network_filesystem(existing)
    except NetworkFileSystem as exc:
        yield Finding(Level.FAULT, topic, str(exc), "Choose a directory on a local disk with --state-dir.")
    if existing != directory:
        yield Finding(Level.OK, topic, f"{directory} does not exist yet; the daemon makes it")
    elif directory.stat().st_mode & 0o077:
        remedy = f"chmod 700 {directory}"
        yield Finding(Level.WARNING, topic, f"{directory} can be read by other users", remedy)
    else:
        yield Finding(Level.OK, topic, str(directory))
    free = shutil.disk_usage(existing).free
    if not has_room(existing):
        remedy = "Make room: until then changes are refused, and a daemon that is not running may not start."
        yield Finding(Level.FAULT, topic, "its disk is full", remedy)
    elif free < LITTLE_SPACE_BYTES:
        text = f"only {free >> 20} MiB are free on its disk"
        yield Finding(Level.WARNING, topic, text, "Make room: on a full disk nothing can be changed.")


def holder(settings: Settings) -> dict[str, object] | None:
    """Return who holds the state directory; None if nobody does.

    Returns
    -------
    dict or None
        ``pid``, ``host``, ``time_started`` and, once requests are answered, ``control_address``; empty if the
        file does not say.
    """
    try:
        fd = os.open(settings.state_dir / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            return dict(json.loads(os.pread(fd, 4096, 0)))
        except ValueError:
            return {}
    finally:
        os.close(fd)
    return None


def control_address(settings: Settings) -> str:
    """Return the address on which a running daemon answers; that of the settings if none is known to run."""
    return str((holder(settings) or {}).get("control_address", settings.zmq_control_addr))


def client_address(address: str) -> str:
    """Return the address by which a client on this machine reaches a daemon's address."""
    for wildcard in ("*", "0.0.0.0", "[::]"):
        address = address.replace(f"tcp://{wildcard}:", "tcp://localhost:")
    return address


def running_manager(settings: Settings) -> Findings:
    """Look who uses the state directory."""
    found = holder(settings)
    if found is None:
        yield Finding(Level.OK, "daemon", "no daemon runs on this state directory")
        return
    pid = found.get("pid")
    priority = ", with real-time priority" if isinstance(pid, int) and has_priority(pid) else ""
    yield Finding(Level.OK, "daemon", f"runs as process {pid or '?'}{priority}")
    runs, wanted = (client_address(a) for a in (control_address(settings), settings.zmq_control_addr))
    if runs != wanted and not wanted.endswith(":*"):
        text = f"the daemon of this state directory answers on {runs}, but these options say {wanted}"
        remedy = "Give doctor the options of that daemon, or name another --state-dir."
        yield Finding(Level.WARNING, "daemon", text, remedy)


def store(settings: Settings) -> Findings:
    """Look at the database: is it ours, readable, of a known version."""
    path = settings.state_dir / DATABASE_NAME
    try:
        if holder(settings) is None:
            check_log(path)
        if not path.exists():
            yield Finding(Level.OK, "store", "there is none yet; the daemon makes it")
            return
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5.0)
        try:
            version = check_database(connection, len(load_migrations()))
            problems = [row[0] for row in connection.execute("PRAGMA quick_check(5)")]
        finally:
            connection.close()
    except (OSError, sqlite3.Error, RemanagerError) as exc:
        remedy = "Restore a copy, or choose another state directory."
        yield Finding(Level.FAULT, "store", f"{path}: {exc}", remedy)
        return
    if problems != ["ok"]:
        text = f"{path} is damaged: {'; '.join(problems)}"
        remedy = "Move the state directory away and put a copy that 'remanager backup' made in its place."
        yield Finding(Level.FAULT, "store", text, remedy)
    elif not version:
        remedy = "If there was something in it, restore a copy: the daemon starts empty."
        yield Finding(Level.WARNING, "store", f"{path} is empty", remedy)
    else:
        size = path.stat().st_size / 1e6
        yield Finding(Level.OK, "store", f"{path}: {size:.1f} MB, schema version {version}, not damaged")


def addresses(settings: Settings) -> Findings:
    """Look whether the addresses can be bound, unless the daemon runs and has them."""
    if holder(settings) is not None:
        return
    wanted = [("control address", settings.zmq_control_addr)]
    if settings.zmq_publish_console:
        wanted.append(("info address", settings.zmq_info_addr))
    for topic, address in wanted:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
            try:
                bind(socket, address, what=topic.partition(" ")[0], remedy="")
            except AddressError as exc:
                remedy = "Correct it, or choose another address."
                if "in use" in str(exc):
                    remedy = (
                        "If that is the daemon you mean, give doctor its options, such as --state-dir. Else "
                        "stop the process that uses it (ss -ltnp), or choose another address."
                    )
                yield Finding(Level.FAULT, topic, str(exc).strip(), remedy)
            else:
                yield Finding(Level.OK, topic, f"{address} is free")


def encryption(settings: Settings) -> Findings:
    """Look at the server's private key and the keys of clients."""
    topic = "encryption"
    try:
        public = server_public_key(settings)
        keys = read_keys(settings.state_dir / KEYS_NAME)
    except RemanagerError as exc:
        yield Finding(Level.FAULT, topic, str(exc), "Make a key: remanager keys server --make --overwrite.")
        return
    if public is not None:
        yield Finding(Level.OK, topic, f"is on; clients need QSERVER_ZMQ_PUBLIC_KEY='{public}'")
    if keys is not None and public is None:
        text = "clients have keys, but the server has none: the keys count for nothing"
        yield Finding(Level.WARNING, topic, text, "Make one: remanager keys server --make.")
    if keys is not None and keys.legacy_role in {Role.ADMIN, Role.USER}:
        text = f"clients without a key of their own have the role {keys.legacy_role.value!r}"
        remedy = "When all clients have keys: remanager keys legacy --role none."
        yield Finding(Level.WARNING, topic, text, remedy)


def server_public_key(settings: Settings) -> str | None:
    """Return the public key of the server; None without encryption.

    Raises
    ------
    RemanagerError
        The private key cannot be used.
    """
    private = settings.zmq_private_key or read_server_key(settings.state_dir)
    return zmq.curve_public(check_curve_key(private)).decode() if private else None


def permissions(settings: Settings) -> Findings:
    """Look at the file with the permissions of the user groups."""
    path = settings.user_group_permissions_path
    if not path.exists():
        remedy = "Write one, or name it with --user-group-permissions; until then built-in ones apply."
        yield Finding(Level.WARNING, "permissions", f"{path} does not exist", remedy)
        return
    try:
        groups = load_permissions(path)["user_groups"]
    except (RemanagerError, OSError, UnicodeDecodeError) as exc:
        yield Finding(Level.FAULT, "permissions", f"{path}: {exc}", "Correct the file.")
        return
    yield Finding(Level.OK, "permissions", f"{path}: groups {', '.join(map(str, groups))}")


def startup_code(settings: Settings) -> Findings:
    """Look at the start-up code: is it there, and is it Python. It is not executed."""
    topic = "start-up code"
    if settings.startup_module is not None:
        yield Finding(Level.OK, topic, f"module {settings.startup_module}; the worker imports it")
        return
    if settings.startup_profile is not None:
        yield Finding(Level.OK, topic, f"profile {settings.startup_profile} of {settings.ipython_dir}")
        return
    place = settings.startup_script or settings.startup_dir
    if place is None:
        return
    files = sorted(place.glob("*.py")) if place.is_dir() else [place]
    broken = [text for path in files if (text := _syntax_error(path))]
    for text in broken:
        yield Finding(Level.FAULT, topic, text, "Correct the file: the environment would not open.")
    if not files:
        yield Finding(Level.WARNING, topic, f"{place} has no .py files", "Is it the right directory?")
    elif not broken:
        simulated = " (the simulated instrument)" if settings.demo_mode else ""
        yield Finding(Level.OK, topic, f"{place}{simulated}: files: {len(files)}")


def _syntax_error(path: Path) -> str:
    try:
        ast.parse(path.read_bytes(), str(path))
    except SyntaxError as exc:
        return f"{path}, line {exc.lineno}: {exc.msg}"
    except (OSError, ValueError) as exc:
        return f"{path}: {exc}"
    return ""


_PROBE = """\
import importlib, json, sys
found = {"Python": sys.version.split()[0]}
for name in sys.argv[1:]:
    try:
        found[name] = getattr(importlib.import_module(name), "__version__", "")
    except Exception as exc:
        found[name] = None
        print(f"{name}: {type(exc).__name__}: {exc}", file=sys.stderr)
print(json.dumps(found))
"""


def worker_python(settings: Settings) -> Findings:
    """Look whether the worker's Python has what a worker needs."""
    topic, python = "worker's Python", str(settings.worker_python or sys.executable)
    modules = ("remanager.worker", *WORKER_MODULES, *(("ipykernel",) if settings.use_ipython_kernel else ()))
    try:
        done = subprocess.run(
            [python, "-c", _PROBE, *modules],
            capture_output=True,
            text=True,
            timeout=IMPORT_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            check=True,
        )
        found: dict[str, str | None] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as exc:
        yield Finding(Level.FAULT, topic, f"{python}: {exc}", "Choose another one with --worker-python.")
        return
    missing = [name for name, version in found.items() if version is None]
    if missing:
        text = f"{python} cannot import {', '.join(missing)}: {done.stderr.strip()}"
        remedy = f"Install them there: {python} -m pip install 'remanager[bluesky]'."
        yield Finding(Level.FAULT, topic, text, remedy)
    else:
        versions = ", ".join(f"{name} {version}" for name, version in found.items() if version)
        yield Finding(Level.OK, topic, f"{python}: {versions}")


def worker_scope(settings: Settings) -> Findings:
    """Look whether workers can be started in scopes of systemd, if they shall be."""
    topic, scope = "worker's scope", settings.worker_scope
    if scope == "off":
        return
    try:
        done = subprocess.run(
            in_scope(["true"], scope),
            capture_output=True,
            text=True,
            timeout=SCOPE_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        problem = done.stderr.strip() if done.returncode else ""
    except (OSError, subprocess.SubprocessError) as exc:
        problem = str(exc)
    if problem:
        remedy = "Use --worker-scope off, or start the daemon where systemd grants scopes."
        yield Finding(Level.FAULT, topic, f"there is no scope of the {scope}: {problem}", remedy)
    else:
        yield Finding(Level.OK, topic, f"workers run in scopes of the {scope}")


def client_variables(settings: Settings) -> Findings:
    """Look whether clients that are started here would talk to this daemon."""
    for name, address in (
        ("QSERVER_ZMQ_CONTROL_ADDRESS", control_address(settings)),
        ("QSERVER_ZMQ_INFO_ADDRESS", settings.zmq_info_addr),
    ):
        client = os.environ.get(name)
        if client and client.rpartition(":")[2] != address.rpartition(":")[2]:
            text = f"{name} is {client}, but the daemon's address is {address}"
            remedy = "Correct the variable, unless clients here are meant to use another daemon."
            yield Finding(Level.WARNING, "client", text, remedy)
    try:
        encrypts = server_public_key(settings) is not None
    except RemanagerError:
        encrypts = False  # said elsewhere
    if encrypts and not os.environ.get("QSERVER_ZMQ_PUBLIC_KEY"):
        text = "the daemon encrypts, but QSERVER_ZMQ_PUBLIC_KEY is not set: clients here get no answer"
        yield Finding(Level.WARNING, "client", text, "Set it to the server's public key.")
    if importlib.util.find_spec("bluesky_queueserver_api") is None:
        yield Finding(Level.OK, "client", "the stock client is not installed here; remanager_api is")


CHECKS = (
    installation,
    state_directory,
    running_manager,
    store,
    addresses,
    encryption,
    permissions,
    startup_code,
    worker_python,
    worker_scope,
    client_variables,
)
