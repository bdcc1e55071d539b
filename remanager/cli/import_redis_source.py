"""What bluesky-queueserver has in Redis, read at one moment; nothing is ever written there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from redis import Redis

TIMEOUT_S = 5.0
_TEXTS = (
    "running_plan",
    "plan_queue_mode",
    "autostart_mode_info",
    "user_group_permissions",
    "lock_info",
)
_WRITTEN_AT_EACH_START = "autostart_mode_info"


class SourceError(Exception):
    """Redis cannot be read; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The JSON texts of one bluesky-queueserver, as they are.

    Attributes
    ----------
    queue, history : tuple of str
        The items; the front of the queue and the oldest entry of the history come first.
    running_plan, plan_queue_mode, autostart_mode_info, user_group_permissions, lock_info : str or None
        None where there is none.
    """

    queue: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    running_plan: str | None = None
    plan_queue_mode: str | None = None
    autostart_mode_info: str | None = None
    user_group_permissions: str | None = None
    lock_info: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing of a bluesky-queueserver at all."""
        return self == Recorded()


def redis_url(address: str) -> str:
    """Return the URL of an address as ``start-re-manager`` takes it: ``localhost:6379/0``; URLs stay."""
    return address if "://" in address else f"redis://{address}"


def without_password(address: str) -> str:
    """Return an address as it may be shown."""
    try:
        parts = urlsplit(redis_url(address))
    except ValueError:  # such as half an IPv6 address
        return address.rpartition("@")[2]
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}".removeprefix("redis://")


class RedisSource:
    """Reads of Redis, one after the other, so that one connection is enough. Made by :func:`connect`.

    Parameters
    ----------
    redis : redis.Redis
        Returns text.
    prefix : str
        As ``--redis-name-prefix``; may be empty.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis: Any = redis  # its annotations allow for awaitables everywhere
        self._prefix = f"{prefix}_" if prefix else ""

    def read(self) -> Recorded:
        """Read everything at one moment.

        Raises
        ------
        SourceError
            A key is of another type than bluesky-queueserver's.
        """
        from redis.exceptions import NoPermissionError, ResponseError

        with self._redis.pipeline(transaction=True) as pipeline:
            for name in ("plan_queue", "plan_history"):
                pipeline.lrange(self._prefix + name, 0, -1)
            for name in _TEXTS:
                pipeline.get(self._prefix + name)
            try:
                queue, history, *texts = pipeline.execute()
            except NoPermissionError:
                raise  # connect() says so
            except ResponseError as exc:
                raise SourceError(f"What is in Redis is not that of bluesky-queueserver: {exc}") from exc
        return Recorded(tuple(queue), tuple(history), **dict(zip(_TEXTS, texts, strict=True)))

    def prefixes(self) -> list[str]:
        """Return the prefixes under which a bluesky-queueserver was ever started."""
        keys = self._redis.scan_iter(match=f"*{_WRITTEN_AT_EACH_START}", count=1000)
        return sorted(key.removesuffix(_WRITTEN_AT_EACH_START).removesuffix("_") for key in keys)

    def other_clients(self) -> list[str]:
        """Return who else is connected to the same database, in words.

        Raises
        ------
        SourceError
            This user of Redis must not ask.
        """
        from redis.exceptions import ResponseError

        try:
            me, clients = self._redis.client_id(), self._redis.client_list()
        except ResponseError as exc:
            raise SourceError(str(exc)) from exc
        (database,) = {c["db"] for c in clients if int(c["id"]) == me} or {"0"}
        return [
            f"{c.get('name') or 'a client'} at {c['addr']}, connected for {c['age']} s"
            for c in clients
            if int(c["id"]) != me and c["db"] == database and not set("SM") & set(c.get("flags", ""))
        ]


@contextmanager
def connect(address: str, prefix: str) -> Iterator[RedisSource]:
    """Connect to Redis.

    Parameters
    ----------
    address : str
        ``host``, ``host:port``, ``host:port/database``, or a URL (``redis://``, ``rediss://``, ``unix://``).
    prefix : str
        As ``--redis-name-prefix`` of ``start-re-manager``.

    Raises
    ------
    SourceError
        The Python package is missing, or nothing answers there.
    """
    try:
        import redis
    except ImportError as exc:
        raise SourceError(
            "The Python package 'redis' is needed: pip install 'remanager[import-redis]'"
        ) from exc
    try:
        client = redis.Redis.from_url(
            redis_url(address),
            decode_responses=True,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
        )
    except ValueError as exc:
        raise SourceError(f"{without_password(address)!r} is no address of Redis: {exc}") from exc
    except redis.RedisError as exc:
        raise SourceError(f"Redis does not answer at {without_password(address)}: {exc}") from exc
    with client:
        try:
            client.ping()
            yield RedisSource(client, prefix)
        except (redis.ConnectionError, redis.TimeoutError, redis.AuthenticationError) as exc:
            raise SourceError(f"Redis does not answer at {without_password(address)}: {exc}") from exc
        except redis.ResponseError as exc:  # no such database, or a user without permissions
            raise SourceError(f"Redis at {without_password(address)} refuses: {exc}") from exc


def listens(address: str) -> bool:
    """Tell whether anybody listens at a ZeroMQ address (``tcp://host:port`` or ``ipc://path``).

    Only a connection is made: it works with encryption, too, and without its keys.

    Raises
    ------
    SourceError
        It is no such address, or the host is not known.
    """
    scheme, _, place = address.partition("://")
    host, _, port = place.rpartition(":")
    try:
        if scheme == "ipc":
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(TIMEOUT_S)
                probe.connect(place)
        elif scheme == "tcp" and host and port.isdigit():
            name = "localhost" if host == "*" else host.strip("[]")
            socket.create_connection((name, int(port)), TIMEOUT_S).close()
        else:
            raise SourceError(f"{address!r} is no address of a manager: it looks like tcp://localhost:60615")
    except socket.gaierror as exc:
        raise SourceError(f"The host of {address!r} is not known: {exc.strerror}") from exc
    except OSError:
        return False
    return True
