"""``remanager import-redis``: take over the queue and the history of bluesky-queueserver."""

from __future__ import annotations

import json
import os
import pwd
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from remanager.cli.import_redis_content import Content, Reading, settings
from remanager.cli.import_redis_source import (
    RedisSource,
    SourceError,
    connect,
    listens,
    without_password,
)
from remanager.cli.send import ExitStatus, Failure
from remanager.cli.shown import describe, moment
from remanager.cli.state_directory import STATE_DIR_OPTION, state_directory
from remanager.daemon.options import CONFIG_VARIABLE
from remanager.daemon.sources import SettingsError, read_configuration
from remanager.manager.state import new_uid
from remanager.model.errors import StorageError
from remanager.store.records import JournalEvent
from remanager.store.store import DATABASE_NAME, Store
from remanager.store.writes import setting_set

IMPORTED = "redis_import"
"""Setting that says what was imported, from where and when."""

_REDIS, _PREFIX, _CONTROL = "localhost", "qs_default", "tcp://localhost:60615"
"""What start-re-manager takes where nothing else is set."""


@click.command("import-redis")
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True),
    metavar="PATH",
    help="Configuration file of start-re-manager: addresses and prefix. Variable: QSERVER_CONFIG.",
)
@click.option(
    "--redis-addr",
    metavar="ADDR",
    help=f"Redis, as start-re-manager takes it ({_REDIS}:6379/0), or a URL. Default: {_REDIS}.",
)
@click.option(
    "--redis-name-prefix",
    "prefix",
    metavar="TEXT",
    help=f"Prefix of the keys, as start-re-manager takes it. Default: {_PREFIX}.",
)
@STATE_DIR_OPTION
@click.option(
    "--address",
    "-a",
    "--zmq-control-addr",
    "control",
    metavar="ADDR",
    help="Where the old manager listened: nobody may be there any more. "
    f"Variable: QSERVER_ZMQ_CONTROL_ADDRESS. Default: {_CONTROL}.",
)
@click.option(
    "--ignore-clients",
    is_flag=True,
    help="Other clients of this database of Redis are none of the old manager.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be imported, and what is in the way.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def import_redis(
    config: Path | None,
    redis_addr: str | None,
    prefix: str | None,
    state_dir: Path | None,
    control: str | None,
    ignore_clients: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take over queue, history, modes, permissions and lock of a bluesky-queueserver from its Redis.

    They go into the state directory, which is made, or must hold no queue and no history. Redis is only read.
    Both managers must be stopped. A plan that was running becomes an entry of the history with the exit
    status 'unknown': nobody knows how far it got, so it does not run again by itself.
    """
    configured = _configured(config or os.environ.get(CONFIG_VARIABLE))
    redis_addr = redis_addr or configured.get("network/redis_addr") or _REDIS
    if prefix is None:
        prefix = configured.get("network/redis_name_prefix", _PREFIX)
    control = control or os.environ.get("QSERVER_ZMQ_CONTROL_ADDRESS")
    control = control or configured.get("network/zmq_control_addr") or _CONTROL
    directory = state_directory(state_dir, configured.get("remanager/state_dir"))
    now = time.time()
    try:
        with connect(redis_addr, prefix) as source:
            recorded = source.read()
            if recorded.is_empty:
                raise Failure(_nothing_there(source, redis_addr, prefix), ExitStatus.FAILED)
            obstacles = list(_old_manager(source, control, ignore_clients))
    except SourceError as exc:
        raise Failure(str(exc), ExitStatus.FAILED) from exc
    content = Reading(recorded, now, new_uid).content()
    origin = {"time": now, "redis": without_password(redis_addr), "prefix": prefix, **_counts(content)}
    if dry_run:
        obstacles += _state_obstacles(directory)
    if not as_json:
        _show(content, f"bluesky-queueserver in {origin['redis']}, prefix {prefix!r}")
    done = not (dry_run or obstacles)
    if done:
        _store(directory, content, now, origin)
    if as_json:
        result = {**_summary(content), "obstacles": obstacles, "imported": done}
        click.echo(json.dumps({**origin, **result, "state_dir": str(directory)}, indent=2))
    elif done:
        click.echo(f"Imported into {directory}. Redis is as it was.")
    if obstacles:
        raise Failure("Nothing can be imported yet:\n" + "\n".join(obstacles), ExitStatus.FAILED)
    if dry_run and not as_json:
        click.echo(f"Nothing was imported; it would go into {directory}.")


def _configured(path: Path | str | None) -> dict[str, str]:
    """Return the settings of a configuration file as texts."""
    if path is None:
        return {}
    try:
        return {key: str(value) for key, value in read_configuration(Path(path).expanduser()).items()}
    except SettingsError as exc:
        raise Failure(str(exc), ExitStatus.PARAMETERS) from exc


# ------------------------------------------------------------------------------------------ obstacles


def _nothing_there(source: RedisSource, address: str, prefix: str) -> str:
    others = ", ".join(map(repr, source.prefixes()))
    hint = f"Prefixes that are there: {others}" if others else "No other prefix is there"
    return (
        f"Redis at {without_password(address)} has nothing of a bluesky-queueserver under the prefix "
        f"{prefix!r}. {hint} (--redis-name-prefix)."
    )


def _old_manager(source: RedisSource, control: str, ignore_clients: bool) -> Iterator[str]:
    """Yield the signs that the old manager, or another one, is still running."""
    if listens(control):
        yield (
            f"A manager listens at {control}: stop it first. If it is that of another instrument, name the "
            f"address of the one to be replaced with --zmq-control-addr."
        )
    if ignore_clients:
        return
    remedy = "Make sure that the old manager is stopped, then add --ignore-clients."
    try:
        clients = source.other_clients()
    except SourceError as exc:
        yield f"Redis does not say who else is connected ({exc}). {remedy}"
        return
    if clients:
        yield f"This database of Redis is in use: {'; '.join(clients)}. {remedy}"


def _state_obstacles(directory: Path) -> Iterator[str]:
    """Yield what keeps the state directory from being used, without making one."""
    if problem := _of_another_user(directory):
        yield problem
    elif (directory / DATABASE_NAME).exists():
        try:
            with closing(Store.open(directory)) as store:
                yield from _not_empty(store, directory)
        except StorageError as exc:
            yield str(exc)


def _of_another_user(directory: Path) -> str | None:
    """Say whose the directory is, if it is there and not of the user who asks."""
    if not directory.exists() or (owner := directory.stat().st_uid) == os.geteuid():
        return None
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    return (
        f"{directory} belongs to {name}, and the daemon must be able to write what is made there: run this "
        f"as that user (sudo -u {name} ...)."
    )


def _not_empty(store: Store, directory: Path) -> Iterator[str]:
    imported: Any = store.reads.settings().get(IMPORTED)
    if imported:
        yield (
            f"{directory} has had an import already, at {moment(imported['time'])} from {imported['redis']}, "
            f"prefix {imported['prefix']!r}. Choose another --state-dir to do it again."
        )
    elif store.reads.has_tasks():
        yield (
            f"{directory} has a queue or a history of its own. Choose a new --state-dir: records are not "
            f"mixed."
        )


# ------------------------------------------------------------------------------------------ the import


def _store(directory: Path, content: Content, now: float, origin: dict[str, Any]) -> None:
    """Write everything in one transaction, and look whether it is there.

    Raises
    ------
    Failure
        The state directory cannot be used or is not empty. Nothing was changed then.
    """
    if problem := _of_another_user(directory):
        raise Failure(problem, ExitStatus.FAILED)
    try:
        with closing(Store.open(directory)) as store:
            for obstacle in _not_empty(store, directory):
                raise Failure(obstacle, ExitStatus.FAILED)
            writes = content.writes(now)
            writes += [setting_set(key, value) for key, value in settings(content).items()]
            writes.append(setting_set(IMPORTED, origin))
            store.submit(writes, [JournalEvent("redis_imported", now, data=origin)]).result()
            stored = {"queue": len(store.reads.queue()), "history": store.reads.history_count()}
    except StorageError as exc:
        raise Failure(str(exc), ExitStatus.FAILED) from exc
    if stored != _counts(content):
        raise Failure(f"The store has {stored} after the import", ExitStatus.EXCEPTION)


# ------------------------------------------------------------------------------------------ what it says


def _counts(content: Content) -> dict[str, int]:
    return {"queue": len(content.queue), "history": len(content.history)}


def _summary(content: Content) -> dict[str, Any]:
    """Return what is not counted, as JSON has it."""
    lock = content.lock
    return {
        "running_item_uid": content.running["item_uid"] if content.running else None,
        "plan_queue_mode": content.mode.as_dict() if content.mode else None,
        "queue_autostart_enabled": content.autostart,
        "user_groups": list(content.permissions["user_groups"]) if content.permissions else None,
        "lock": {"environment": lock.environment, "queue": lock.queue} if lock else None,
        "remarks": content.remarks,
    }


def _show(content: Content, title: str) -> None:
    click.echo(title)
    for name, text in _lines(content):
        click.echo(f"  {name:<13} {text}")
    for remark in content.remarks:
        click.secho(f"  ! {remark}", fg="yellow")


def _lines(content: Content) -> Iterator[tuple[str, str]]:
    queue, history, lock = content.queue, content.history, content.lock
    yield "queue", _count(len(queue), "item") + (f", first {describe(queue[0].item)}" if queue else "")
    period = f", {_day(history[0].result)} to {_day(history[-1].result)}" if history else ""
    yield "history", ("1 entry" if len(history) == 1 else f"{len(history)} entries") + period
    if content.running:
        yield "was running", f"{describe(content.running)}: the last entry of the history, as 'unknown'"
    if content.mode:
        yield (
            "queue mode",
            ", ".join(f"{k} {'on' if v else 'off'}" for k, v in content.mode.as_dict().items()),
        )
    if content.permissions:
        groups = ", ".join(content.permissions["user_groups"])
        yield "permissions", f"groups {groups}; a permissions file that is read at the start replaces them"
    if lock:
        scopes = " and ".join(name for name in ("environment", "queue") if getattr(lock, name))
        yield "lock", f"{scopes}, by {lock.user} since {moment(lock.time)}; its key stays"
    if content.autostart:
        yield "autostart", "was on; it is off after a start: remanager queue autostart enable"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _day(result: dict[str, Any]) -> str:
    return datetime.fromtimestamp(result["time_stop"]).strftime("%Y-%m-%d")
