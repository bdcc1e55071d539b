"""Unit files of systemd and the files beside them, as text.

``python -m remanager.cli.service_unit DIRECTORY`` writes those of the directory ``systemd``.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from remanager.cli.service_sandbox import SANDBOX

SYSTEM_COMMAND = ("/opt/remanager/bin/remanager",)
INSTRUMENT_NAME = re.compile(r"[a-z][a-z0-9_-]{0,19}")
"""Names of instruments are parts of names of users."""

FIRST_PORT = 60615
"""Control port of the first instrument of a machine."""

USER_STATE = ".local/state/remanager"
"""State directory of a user's service, below the home directory."""

_UNIT = """\
[Unit]
Description=Run manager{of}
{order}# A daemon that ends five times within five minutes needs somebody to look at it.
StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
# The supervisor is the main process. It tells when requests are answered, what runs, that the manager lives.
Type=notify
NotifyAccess=main
{account}ExecStart={start}
# Replaces the manager: new code, new settings. Workers, and the plan that runs, are not touched.
ExecReload=/bin/kill -HUP $MAINPID
{state}
# The main process alone gets signals, since workers must be able to outlive it: 'systemctl restart' leaves
# them for the next start to take over. On 'systemctl stop' it closes the environment and ends them itself.
KillMode=process
Environment=REMANAGER_ON_STOP=leave-on-restart
TimeoutStopSec=30
# The supervisor gives a manager with a long task queue three minutes to start, and replaces one that hangs
# within seconds. The watchdog is there for the supervisor.
TimeoutStartSec=200
WatchdogSec=240
Restart=on-failure
RestartSec=3
# A worker that uses up the memory must not take the manager along, which tells what it died of.
OOMPolicy=continue
# Everything that plans and devices print goes to the journal.
SyslogIdentifier=remanager
LogRateLimitIntervalSec=30
LogRateLimitBurst=50000
{sandbox}
[Install]
WantedBy={target}
"""

_SYSTEM_ORDER = """\
# Devices are on the network, data often on a file server.
After=network-online.target remote-fs.target nss-user-lookup.target
Wants=network-online.target
"""
_ACCOUNT = """\
User={user}
{groups}
# Groups that may use devices, as far as they exist here:
#SupplementaryGroups=dialout plugdev video
# Variables with secrets, such as QSERVER_ZMQ_PRIVATE_KEY_FOR_SERVER; read by root.
EnvironmentFile=-/etc/remanager/{name}.env
"""
_STATE = """\
# Queue, history, results and keys. The daemon finds it through the variable STATE_DIRECTORY.
StateDirectory={state}
StateDirectoryMode=0700
WorkingDirectory={directory}
"""

TMPFILES = """\
# Configuration, which may hold names and keys of the laboratory, is read by the daemons alone.
d /etc/remanager 0750 root remanager -
"""
ENVIRONMENT = """\
# Variables of the daemon, one in a line. This file is for secrets: owner root, mode 0600.
# 'remanager keys server --make' is another way to turn encryption on.
#QSERVER_ZMQ_PRIVATE_KEY_FOR_SERVER=
#QSERVER_EMERGENCY_LOCK_KEY_FOR_SERVER=
"""
CONFIGURATION = """\
# Settings of the daemon{of}; 'remanager start --help' lists all of them.
network:
  zmq_control_addr: tcp://*:{control}
  zmq_info_addr: tcp://*:{info}
  zmq_publish_console: true
# Without start-up code the daemon offers a simulated instrument.
#startup:
#  startup_dir: /opt/instrument/startup
#  existing_plans_and_devices_path: {state}
#  user_group_permissions_path: /opt/instrument/startup
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSpec:
    """What a unit file is made for.

    Attributes
    ----------
    command : tuple of str
        Words that call ``remanager``.
    options : tuple of str
        Further options of ``start``.
    template : bool
        For several instruments on one machine: the unit is ``remanager@NAME.service``.
    user : bool
        For a user's service manager.
    run_as : str
        User of a system service; empty: a user of its own.
    """

    command: tuple[str, ...] = SYSTEM_COMMAND
    options: tuple[str, ...] = ()
    template: bool = False
    user: bool = False
    run_as: str = ""

    @property
    def name(self) -> str:
        """Name of the instrument in paths; ``%i`` in a template."""
        return "%i" if self.template else "remanager"

    @property
    def config(self) -> str:
        """Path of the configuration, as it stands in the unit file."""
        # %E: ~/.config, or what the user has in its place.
        return f"{'%E' if self.user else '/etc'}/remanager/{self.name}.yml"

    @property
    def file_name(self) -> str:
        """Name of the unit file."""
        return "remanager@.service" if self.template else "remanager.service"


def system_state(instrument: str = "") -> str:
    """Return the path of the state directory of a system service; ``%i`` stands for each instrument."""
    return f"/var/lib/remanager/{instrument}" if instrument else "/var/lib/remanager"


def quoted(word: str) -> str:
    """Return a word of a command line as it stands in a unit file, where ``%`` and ``$`` have a meaning."""
    word = word.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[\w@%+=:,./$-]+", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _start(spec: UnitSpec) -> str:
    words = [*(quoted(word) for word in spec.command), "start", "--config", spec.config]
    if spec.user and spec.template:
        words += ["--state-dir", f"%h/{USER_STATE}/%i"]
    return " ".join([*words, *(quoted(word) for word in spec.options)])


def unit_text(spec: UnitSpec) -> str:
    """Return a unit file."""
    common = {"of": " of %i" if spec.template else "", "start": _start(spec)}
    if spec.user:
        # Its directories, and most of what it can keep from a service, depend on its version.
        parts = {"order": "", "account": "", "state": "", "sandbox": "", "target": "default.target"}
        return _UNIT.format(**common, **parts)
    state = system_state("%i" if spec.template else "")
    user = spec.run_as or ("remanager-%i" if spec.template else "remanager")
    # The group may read the configuration. A user of the laboratory writes data with the group that it has.
    groups = "SupplementaryGroups=remanager" if spec.run_as else "Group=remanager"
    return _UNIT.format(
        **common,
        order=_SYSTEM_ORDER,
        account=_ACCOUNT.format(user=user, groups=groups, name=spec.name),
        state=_STATE.format(state=state.removeprefix("/var/lib/"), directory=state),
        sandbox=SANDBOX,
        target="multi-user.target",
    )


def sysusers_text(instrument: str = "", run_as: str = "") -> str:
    """Return the file of ``sysusers.d`` for the service, or for one of several instruments."""
    user, of = (f"remanager-{instrument}", f" of {instrument}") if instrument else ("remanager", "")
    lines = ["# The group may read the configuration.", "g remanager -"]
    if not run_as:
        lines.append(f'u {user} - "Run manager{of}" {system_state(instrument)}')
    if run_as or instrument:
        lines.append(f"m {run_as or user} remanager")
    return "\n".join(lines) + "\n"


def configuration_text(instrument: str = "", *, first_port: int = FIRST_PORT, state: str) -> str:
    """Return a configuration to begin with.

    Parameters
    ----------
    instrument : str
        Name of the instrument, if there are several.
    first_port : int
        Port of the control address; that of the info address is ten higher.
    state : str
        State directory.
    """
    return CONFIGURATION.format(
        of=f" of {instrument}" if instrument else "",
        control=first_port,
        info=first_port + 10,
        state=state,
    )


def shipped_files() -> dict[str, str]:
    """Return the files of the directory ``systemd``, by path."""
    units = (UnitSpec(), UnitSpec(template=True))
    return {
        **{spec.file_name: unit_text(spec) for spec in units},
        "sysusers.d/remanager.conf": sysusers_text(),
        "tmpfiles.d/remanager.conf": TMPFILES,
        "remanager.env": ENVIRONMENT,
        "remanager.yml": configuration_text(state=system_state()),
    }


def main(directory: Path) -> None:
    """Write the files of the directory ``systemd``."""
    for name, text in shipped_files().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
