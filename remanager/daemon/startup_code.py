"""Where the start-up code is: a directory, an IPython profile, a module or a script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from remanager.daemon.sources import SettingsError
from remanager.demo import DEMO_PROFILE, PROFILE_DIR

LOCATION_NAMES = ("startup_dir", "startup_profile", "startup_module", "startup_script", "ipython_dir")
"""Settings that say together where the start-up code is."""

Source = Mapping[str, str | Path]


@dataclass(frozen=True, slots=True)
class StartupCode:
    """Where the start-up code is.

    Attributes
    ----------
    directory, module, script, profile, ipython_dir
        As in :class:`remanager.daemon.settings.Settings`.
    beside : Path or None
        Directory in which lists and permissions are looked for when their paths are not given.
    demo_mode : bool
        It is the simulated instrument of the package.
    """

    directory: Path | None = None
    module: str | None = None
    script: Path | None = None
    profile: str | None = None
    ipython_dir: Path | None = None
    beside: Path | None = None
    demo_mode: bool = False


def _path(source: Source, name: str) -> Path | None:
    value = source.get(name)
    return None if value is None else Path(value)


def _name(source: Source, name: str) -> str | None:
    value = source.get(name)
    return None if value is None else str(value)


def _refuse_ambiguity(source: Source, where: str, *, kernel: bool) -> None:
    named = {n: str(v) for n, v in source.items()}
    exclusive = ("startup_module", "startup_script") if kernel else LOCATION_NAMES[0:1] + LOCATION_NAMES[2:4]
    clash = [n for n in exclusive if n in named]
    if len(clash) < 2 and "startup_dir" in named:
        clash = [n for n in ("startup_dir", "startup_profile", "ipython_dir") if n in named]
    if len(clash) > 1:
        shown = ", ".join(f"{n}={named[n]!r}" for n in clash)
        raise SettingsError(f"the place of the start-up code is given twice in the {where}: {shown}")


def profile_directory(profile: str | None, ipython_dir: Path) -> Path:
    """Return the start-up directory of an IPython profile."""
    return ipython_dir / f"profile_{profile or 'default'}" / "startup"


def profile_of_directory(directory: Path) -> tuple[str, Path]:
    """Return the profile's name and the IPython directory of a start-up directory.

    Raises
    ------
    SettingsError
        The directory is not of the form ``<ipython dir>/profile_<name>/startup``.
    """
    parent = directory.parent
    if directory.name == "startup" and parent.name.startswith("profile_") and parent.name != "profile_":
        return parent.name.removeprefix("profile_"), parent.parent
    raise SettingsError(
        "with an IPython kernel the start-up directory must be <ipython dir>/profile_<name>/startup, "
        f"got {directory}"
    )


def _checked_directory(directory: Path) -> Path:
    if not directory.exists():
        raise SettingsError(f"the start-up directory does not exist: {directory}")
    if not directory.is_dir():
        raise SettingsError(f"the start-up directory is not a directory: {directory}")
    return directory


def _in_python(options: Source, config: Source, ipython_dir_default: Path) -> StartupCode:
    """Without a kernel: a profile is only another way to name a directory."""
    profile = _name(options, "startup_profile") or _name(config, "startup_profile")
    ipython_dir = _path(options, "ipython_dir") or _path(config, "ipython_dir")
    for source in (options, config):
        directory, module, script = (
            _path(source, "startup_dir"),
            _name(source, "startup_module"),
            _path(source, "startup_script"),
        )
        named = _name(source, "startup_profile") or _path(source, "ipython_dir")
        if named and not (directory or module or script):
            own_dir = _path(source, "ipython_dir") or ipython_dir_default
            directory = profile_directory(_name(source, "startup_profile"), own_dir)
        if directory or module or script:
            break
    else:
        directory = PROFILE_DIR
    beside = directory
    if beside is None and (profile or ipython_dir):
        beside = profile_directory(profile, ipython_dir or ipython_dir_default)
    if directory is not None:
        _checked_directory(directory)
        profile = ipython_dir = None
    return StartupCode(directory, module, script, profile, ipython_dir, beside, directory == PROFILE_DIR)


def _in_kernel(
    options: Source, config: Source, ipython_dir_default: Path, demo_ipython_dir: Path
) -> StartupCode:
    """With a kernel: the profile is always loaded, a module or a script comes after it."""
    module: str | None = None
    script: Path | None = None
    profile: str | None = None
    ipython_dir: Path | None = None
    for source in (config, options):
        if "startup_module" in source or "startup_script" in source:
            module, script = _name(source, "startup_module"), _path(source, "startup_script")
        own_profile, own_dir = _name(source, "startup_profile"), _path(source, "ipython_dir")
        if (directory := _path(source, "startup_dir")) is not None:
            own_profile, own_dir = profile_of_directory(directory)
        profile, ipython_dir = own_profile or profile, own_dir or ipython_dir
    demo = not (module or script or profile or ipython_dir)
    if demo:
        profile, ipython_dir = DEMO_PROFILE, demo_ipython_dir
        beside = PROFILE_DIR
    else:
        beside = profile_directory(profile, ipython_dir or ipython_dir_default)
    return StartupCode(None, module, script, profile, ipython_dir, beside, demo)


def locate(
    options: Source,
    config: Source,
    *,
    use_ipython_kernel: bool,
    ipython_dir_default: Path,
    demo_ipython_dir: Path,
) -> StartupCode:
    """Decide where the start-up code is.

    Options replace what the configuration file says as a whole. Where nothing is said the simulated
    instrument is used.

    Parameters
    ----------
    options, config : Mapping
        What the command line and the configuration file say, by names of :data:`LOCATION_NAMES`.
    use_ipython_kernel : bool
        Whether the worker runs an IPython kernel.
    ipython_dir_default : Path
        IPython directory for a profile that is given without one.
    demo_ipython_dir : Path
        IPython directory in which a kernel finds the simulated instrument.

    Raises
    ------
    SettingsError
        The place is given twice, or does not exist.
    """
    _refuse_ambiguity(options, "options", kernel=use_ipython_kernel)
    _refuse_ambiguity(config, "configuration file", kernel=use_ipython_kernel)
    if use_ipython_kernel:
        return _in_kernel(options, config, ipython_dir_default, demo_ipython_dir)
    return _in_python(options, config, ipython_dir_default)
