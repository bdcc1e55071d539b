"""Where the IPython kernel listens: its address, its ports and its connection file."""

from __future__ import annotations

import json
import logging
import socket
from dataclasses import dataclass, field
from pathlib import Path

from remanager.model.worker_config import WorkerConfig

logger = logging.getLogger(__name__)

_LOCALHOST = "127.0.0.1"
# An address set aside for documentation: connecting a datagram socket sends nothing.
_ELSEWHERE = ("192.0.2.1", 9)


@dataclass(frozen=True, slots=True)
class KernelAddress:
    """Where the kernel shall listen.

    Attributes
    ----------
    ip : str
        Address.
    ports : dict
        Fixed ports by channel; the others are chosen when the kernel starts.
    file : Path or None
        Connection file to be kept; None: a file with a name of its own, removed at the end.
    """

    ip: str = _LOCALHOST
    ports: dict[str, int] = field(default_factory=dict)
    file: Path | None = None


def kernel_address(config: WorkerConfig, default_dir: Path) -> KernelAddress:
    """Decide where the kernel listens.

    An existing connection file is used again, with its key and its ports, unless it contradicts the settings:
    then it is removed.

    Parameters
    ----------
    config : WorkerConfig
        Settings.
    default_dir : Path
        Directory of connection files where none is set.
    """
    ip = resolve_ip(config.kernel_ip)
    ports = {channel: port for channel, port in config.kernel_ports.items() if port}
    if not config.kernel_connection_file:
        return KernelAddress(ip, ports)
    directory = (
        Path(config.kernel_connection_dir).expanduser() if config.kernel_connection_dir else default_dir
    )
    file = (directory / config.kernel_connection_file).absolute()
    if file.exists() and (reason := _why_unusable(file, ip, ports)):
        logger.warning("The connection file '%s' is replaced: %s", file, reason)
        file.unlink()
    return KernelAddress(ip, ports, file)


def resolve_ip(name: str) -> str:
    """Return the address that ``localhost``, ``auto`` or an address stands for.

    ``auto`` is the address with which this machine reaches others; without a network that of itself.
    """
    if name == "localhost":
        return _LOCALHOST
    if name != "auto":
        return name
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError as exc:
            logger.warning("This machine has no address in a network (%s): the kernel listens locally", exc)
            return _LOCALHOST
        return str(probe.getsockname()[0])


def _why_unusable(file: Path, ip: str, ports: dict[str, int]) -> str:
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
        wanted = {"ip": ip, **{f"{channel}_port": port for channel, port in ports.items()}}
        for name, value in wanted.items():
            if info[name] != value:
                return f"{name} is {info[name]!r} there and shall be {value!r}"
    except (OSError, ValueError, KeyError, TypeError) as exc:
        return f"it cannot be read ({type(exc).__name__}: {exc})"
    return ""
