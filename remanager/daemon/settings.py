"""Settings of the daemon, resolved in the order option, environment variable, configuration file, default."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from remanager.daemon.options import CONFIG_VARIABLE, OPTIONS, UNNEEDED, Option
from remanager.daemon.sources import (
    SettingsError,
    absolute,
    convert,
    from_environment,
    read_configuration,
    switch,
)
from remanager.daemon.startup_code import LOCATION_NAMES, StartupCode, locate

__all__ = ["LISTS_FILE", "PERMISSIONS_FILE", "Settings", "SettingsError", "default_state_dir", "resolve"]

LISTS_FILE = "existing_plans_and_devices.yaml"
PERMISSIONS_FILE = "user_group_permissions.yaml"

_LOG_LEVELS = {
    "VERBOSE": logging.DEBUG,
    "NORMAL": logging.INFO,
    "QUIET": logging.WARNING,
    "SILENT": logging.CRITICAL + 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set, resolved and checked. Paths are absolute.

    What each field means is said in :data:`remanager.daemon.options.OPTIONS`; besides:

    Attributes
    ----------
    startup_dir, startup_module, startup_script, startup_profile, ipython_dir
        Where the start-up code is. Without an IPython kernel exactly one of directory, module and script is
        set (a profile has become a directory); with a kernel the directory has become a profile.
    demo_mode : bool
        The start-up code is the simulated instrument of the package.
    notices : tuple of str
        Lines for the log: old names, and options that are not needed.
    """

    state_dir: Path
    existing_plans_and_devices_path: Path
    user_group_permissions_path: Path
    task_result_retention: float = 86_400.0
    zmq_control_addr: str = "tcp://*:60615"
    zmq_info_addr: str = "tcp://*:60625"
    zmq_publish_console: bool = False
    zmq_encoding: str = "json"
    zmq_private_key: str | None = field(default=None, repr=False)
    startup_dir: Path | None = None
    startup_profile: str | None = None
    startup_module: str | None = None
    startup_script: Path | None = None
    update_existing_plans_devices: str = "ENVIRONMENT_OPEN"
    user_group_permissions_reload: str = "ON_STARTUP"
    device_max_depth: int = 0
    ignore_invalid_plans: bool = False
    permitted_re_metadata_keys: tuple[str, ...] = ("/",)
    worker_python: Path | None = None
    use_ipython_kernel: bool = False
    ipython_dir: Path | None = None
    ipython_kernel_ip: str = "localhost"
    ipython_matplotlib: str | None = None
    ipython_connection_file: str | None = None
    ipython_connection_dir: str | None = None
    ipython_shell_port: int | None = None
    ipython_iopub_port: int | None = None
    ipython_stdin_port: int | None = None
    ipython_hb_port: int | None = None
    ipython_control_port: int | None = None
    print_console_output: bool = True
    console_logging_level: str = "NORMAL"
    emergency_lock_key: str | None = field(default=None, repr=False)
    report_version: str | None = None
    allow_manager_kill: bool = False
    on_stop: str = "close"
    worker_scope: str = "off"
    manager_scheduling: str = "auto"
    task_modules: tuple[str, ...] = ()
    task_paths: tuple[str, ...] = ()
    task_workers: int = 2
    task_worker_idle: float = 300.0
    task_worker_max_tasks: int = 0
    task_worker_max_memory: int = 0
    task_max_active: int = 200_000
    task_preempt_at: int | None = None
    task_aging_interval: int = 0
    task_aging_grace: int = 300
    task_aging_ceiling: int = 64
    task_retention: str = ""
    task_archive: Path | None = None
    demo_mode: bool = False
    notices: tuple[str, ...] = ()

    @property
    def log_level(self) -> int:
        """Level for :mod:`logging` that goes with ``console_logging_level``."""
        return _LOG_LEVELS[self.console_logging_level]


DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(Settings) if f.default is not MISSING}
"""Default of each setting that has a fixed one."""


def default_state_dir(environ: Mapping[str, str], *, root: bool) -> Path:
    """Return the state directory when none is given.

    Parameters
    ----------
    environ : Mapping
        Environment: ``STATE_DIRECTORY`` (set by systemd) comes first, then ``XDG_STATE_HOME``.
    root : bool
        Whether the daemon runs as the superuser.
    """
    if directory := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(directory)
    if root:
        return Path("/var/lib/remanager")
    base = environ.get("XDG_STATE_HOME") or absolute("~/.local/state")
    return Path(base) / "remanager"


def _merge(
    given: Mapping[str, object], environ: Mapping[str, str], config: Mapping[str, object], config_name: str
) -> tuple[dict[str, Any], list[str]]:
    """Take each setting from the first source that has it."""
    values: dict[str, Any] = {}
    notices: list[str] = []
    for option in OPTIONS:
        if option.name in LOCATION_NAMES:
            continue
        found: object = None
        if option.name in given:
            found = convert(option, given[option.name], _origin(option))
        elif (set_by := from_environment(option, environ)) is not None:
            found, variable = set_by
            if variable != option.env[0]:
                notices.append(f"{variable} is an old name: use {option.env[0]}")
        elif option.key in config:
            found = convert(option, config[option.key], f"{config_name}, key {option.key}")
        if found is not None:
            values[option.name] = found
    return values, notices


def _origin(option: Option) -> str:
    return f"option {option.flags[0]}" if option.flags else option.name


def _location_source(
    values: Mapping[str, object], names: Mapping[str, str], source: str
) -> dict[str, str | Path]:
    """Convert the settings of the start-up code's place of one source; they are compared as a whole."""
    found: dict[str, Any] = {}
    for option in OPTIONS:
        if option.name in LOCATION_NAMES and names[option.name] in values:
            found[option.name] = convert(
                option, values[names[option.name]], f"{source}, {names[option.name]}"
            )
    return found


def _unneeded_notices(
    given_unneeded: Mapping[str, object], config: Mapping[str, object], config_name: str
) -> list[str]:
    notices = []
    for unneeded in UNNEEDED:
        if any(flag in given_unneeded for flag in unneeded.flags):
            notices.append(f"{unneeded.flags[0]} is {unneeded.answer}")
        elif unneeded.key in config:
            if not unneeded.takes_value:
                switch(config[unneeded.key], f"{config_name}, key {unneeded.key}")
            notices.append(f"{unneeded.key} in the configuration file is {unneeded.answer}")
    return notices


def _file_in(path: Path, name: str) -> Path:
    return path if path.suffix == ".yaml" else path / name


def _files_of(code: StartupCode, values: dict[str, Any], state_dir: Path) -> tuple[Path, Path]:
    """Find the files with the lists and with the permissions."""
    lists: Path | None = values.pop("existing_plans_and_devices_path", None)
    permissions: Path | None = values.pop("user_group_permissions_path", None)
    named = permissions is not None
    if lists is None:
        lists = state_dir / LISTS_FILE if code.demo_mode else code.beside
    if permissions is None:
        permissions = code.beside
    if lists is None or permissions is None:
        missing = "--existing-plans-devices" if lists is None else "--user-group-permissions"
        raise SettingsError(
            f"{missing} is not given: a start-up module or script needs --existing-plans-devices and "
            "--user-group-permissions, unless a start-up profile or an IPython directory says where they are"
        )
    lists, permissions = _file_in(lists, LISTS_FILE), _file_in(permissions, PERMISSIONS_FILE)
    if not lists.parent.is_dir() and lists.parent != state_dir:
        raise SettingsError(f"the directory for the list of plans and devices does not exist: {lists.parent}")
    # One beside the start-up code may be missing; one that is named must not be passed over in silence.
    if named and not permissions.exists() and values.get("user_group_permissions_reload") != "NEVER":
        raise SettingsError(f"the file with the user group permissions does not exist: {permissions}")
    return lists, permissions


def _configuration(path: str | None) -> tuple[str, dict[str, object]]:
    """Read the configuration; return how errors name it, and its content."""
    if not path:
        return "", {}
    return f"configuration file {path}", read_configuration(absolute(path))


def resolve(
    given: Mapping[str, object],
    environ: Mapping[str, str] | None = None,
    *,
    config_path: str | None = None,
    unneeded: Mapping[str, object] | None = None,
    notices: tuple[str, ...] = (),
) -> Settings:
    """Resolve the settings.

    Parameters
    ----------
    given : Mapping
        Options of the command line, by name of the setting; values as written.
    environ : Mapping, optional
        Environment variables; default: those of this process.
    config_path : str, optional
        Configuration file or directory; default: the variable ``QSERVER_CONFIG``, else none.
    unneeded : Mapping, optional
        Options of the command line that are accepted without being used, by flag.
    notices : tuple of str
        Lines of the command line's own for the log.

    Returns
    -------
    Settings

    Raises
    ------
    SettingsError
        A value is wrong, settings contradict each other, or a file does not exist.
    """
    environ = os.environ if environ is None else environ
    config_name, config = _configuration(config_path or environ.get(CONFIG_VARIABLE))
    values, old_names = _merge(given, environ, config, config_name)
    state_dir: Path = values.pop("state_dir", None) or default_state_dir(environ, root=os.geteuid() == 0)
    keys = {o.name: o.key for o in OPTIONS if o.name in LOCATION_NAMES}
    code = locate(
        _location_source(given, {name: name for name in LOCATION_NAMES}, "options"),
        _location_source(config, keys, config_name),
        use_ipython_kernel=values.get("use_ipython_kernel", False),
        ipython_dir_default=absolute(environ.get("IPYTHONDIR") or "~/.ipython"),
        demo_ipython_dir=state_dir / "ipython",
    )
    lists, permissions = _files_of(code, values, state_dir)
    return Settings(
        state_dir=state_dir,
        existing_plans_and_devices_path=lists,
        user_group_permissions_path=permissions,
        startup_dir=code.directory,
        startup_module=code.module,
        startup_script=code.script,
        startup_profile=code.profile,
        ipython_dir=code.ipython_dir,
        demo_mode=code.demo_mode,
        notices=(*notices, *old_names, *_unneeded_notices(unneeded or {}, config, config_name)),
        **values,
    )
