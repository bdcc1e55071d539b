"""An installation of the service: which files it consists of, and what they say."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from remanager.cli.service_unit import (
    ENVIRONMENT,
    FIRST_PORT,
    TMPFILES,
    USER_STATE,
    UnitSpec,
    configuration_text,
    system_state,
    sysusers_text,
    unit_text,
)

MARK = "# Written by 'remanager service install', removed by 'remanager service uninstall'.\n"
"""First line of files that may be replaced and removed."""

_PORTS_PER_INSTRUMENT = 20
_PORT = re.compile(r"zmq_control_addr:\s*\S+:(\d+)")


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the service is, or shall be.

    Attributes
    ----------
    instrument : str
        Name of one of several instruments; empty: the only one.
    user : bool
        Whether it belongs to a user's service manager.
    root : Path
        Directory in which the file system of the machine is seen.
    home : Path
        Home directory of the user.
    config_home : Path
        Directory of the user's configurations.
    """

    instrument: str
    user: bool
    root: Path
    home: Path
    config_home: Path

    @classmethod
    def here(cls, environ: Mapping[str, str], instrument: str, user: bool, root: Path) -> Installation:
        """Return the installation for the user who asks."""
        home = Path(environ.get("HOME") or "/")
        config_home = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
        return cls(instrument, user, root, home, config_home)

    @property
    def unit(self) -> str:
        """Name of the unit."""
        return f"remanager@{self.instrument}.service" if self.instrument else "remanager.service"

    @property
    def name(self) -> str:
        """Name of the configuration, without its ending."""
        return self.instrument or "remanager"

    def _path(self, path: str | Path) -> Path:
        return self.root / Path(path).relative_to("/")

    @property
    def unit_directory(self) -> Path:
        """Directory of the unit file."""
        return self._path(self.config_home / "systemd/user" if self.user else "/etc/systemd/system")

    @property
    def unit_path(self) -> Path:
        """Path of the unit file, which instruments share."""
        return self.unit_directory / UnitSpec(template=bool(self.instrument)).file_name

    @property
    def config_path(self) -> Path:
        """Path of the configuration."""
        directory = self.config_home / "remanager" if self.user else Path("/etc/remanager")
        return self._path(directory / f"{self.name}.yml")

    @property
    def state_directory(self) -> Path:
        """State directory that the unit says; for one user's only instrument it is that of the daemon."""
        if self.user:
            return self.home / USER_STATE / self.instrument
        return Path(system_state(self.instrument))

    def sysusers_path(self, run_as: str = "") -> Path:
        """Path of the file that makes the user of the service, or a member of its group."""
        own = f"-{self.instrument or run_as}" if self.instrument or run_as else ""
        return self._path(f"/etc/sysusers.d/remanager{own}.conf")

    @property
    def tmpfiles_path(self) -> Path:
        """Path of the file that makes the directory of the configuration."""
        return self._path("/etc/tmpfiles.d/remanager.conf")

    # -------------------------------------------------------------------------------- files

    def files(self, spec: UnitSpec) -> dict[Path, str]:
        """Return the files that are written, by path; ``template`` and ``user`` are those of this place."""
        files = {
            self.unit_path: MARK + unit_text(replace(spec, template=bool(self.instrument), user=self.user))
        }
        if not self.user:
            files[self.sysusers_path(spec.run_as)] = MARK + sysusers_text(self.instrument, spec.run_as)
            files[self.tmpfiles_path] = MARK + TMPFILES
        return files

    def first_files(self) -> dict[Path, str]:
        """Return the files that are written where there are none, and then belong to the administrator."""
        state = str(self.state_directory)
        files = {
            self.config_path: configuration_text(self.instrument, first_port=self._free_port(), state=state)
        }
        if not self.user:
            files[self.config_path.with_suffix(".env")] = ENVIRONMENT
        return files

    def _free_port(self) -> int:
        """Return a control port that no other configuration beside this one has."""
        taken: set[int] = set()
        for path in self.config_path.parent.glob("*.yml"):
            taken |= {int(port) for port in _PORT.findall(path.read_text(errors="replace"))}
        port = FIRST_PORT
        while port in taken:
            port += _PORTS_PER_INSTRUMENT
        return port

    def own_files(self) -> Iterator[Path]:
        """Yield the files that the installation wrote and nothing else needs any more."""
        candidates = [self.sysusers_path()] if self.instrument else []
        if not self._others():
            candidates.append(self.unit_path)
            if not self.user and not list(self.unit_directory.glob("remanager*.service"))[1:]:
                candidates += [self.tmpfiles_path, *self._path("/etc/sysusers.d").glob("remanager*.conf")]
        for path in dict.fromkeys(candidates):
            if is_ours(path):
                yield path

    def _others(self) -> list[Path]:
        """Return the links of other instruments that use the same unit file."""
        links = self.unit_directory.glob("*.wants/remanager@?*.service") if self.instrument else ()
        return [path for path in links if path.name != self.unit]

    # -------------------------------------------------------------------------------- what is installed

    def start_options(self, text: str) -> list[str]:
        """Return the options of ``remanager start`` that a unit file says."""
        (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE) or [""]
        words = [self._expanded(word) for word in shlex.split(line)]
        return words[words.index("start") + 1 :] if "start" in words else []

    def _expanded(self, word: str) -> str:
        values = {
            "%": "%",
            "i": self.instrument,
            "h": str(self.home),
            "E": str(self.config_home if self.user else "/etc"),
        }
        return re.sub("%(.)", lambda m: values.get(m[1], m[0]), word).replace("$$", "$")

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that the service gets, as far as they matter to the daemon."""
        service = {k: v for k, v in environ.items() if not k.startswith(("QSERVER_", "REMANAGER_"))}
        if not self.user:
            service["STATE_DIRECTORY"] = str(self.state_directory)
            service |= _variables(self.config_path.with_suffix(".env"))
        return service


def is_ours(path: Path) -> bool:
    """Tell whether a file was written by ``install``."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline() == MARK
    except OSError:
        return False


def _variables(path: Path) -> dict[str, str]:
    """Read an environment file; one that is missing or may not be read has none."""
    try:
        lines = path.read_text().splitlines() if os.access(path, os.R_OK) else []
    except OSError:
        lines = []
    pairs = (line.split("=", 1) for line in map(str.strip, lines) if "=" in line and line[0] not in "#;")
    return {name.strip(): value.strip().strip("\"'") for name, value in pairs}
