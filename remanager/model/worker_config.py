"""Settings that the manager hands to a worker process, as a JSON file in the runtime directory."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What an environment worker must know to start.

    Attributes
    ----------
    worker_uid : str
        Identity of the worker.
    link_address, console_address : str
        Paths of the manager's sockets for messages and for console output.
    crash_path : str
        File for the stacks of the threads when the process crashes; empty: they go to standard error.
    startup_dir, startup_profile, startup_module, startup_script, ipython_dir : str or None
        Where the start-up code is; at most one of directory/profile, module, script.
    encoding : str
        ``json`` or ``msgpack``: the wire encoding in which return values must be representable.
    permissions : dict
        User group permissions.
    keep_re : bool
        Keep the ``RE`` of the start-up code (always so; accepted for compatibility).
    device_max_depth : int
        Depth of the device trees in the descriptions; 0: no limit.
    ignore_invalid_plans : bool
        Leave out plans whose description cannot be made instead of failing.
    permitted_re_metadata_keys : list of str
        Which keys of ``RE.md`` clients may see.
    use_ipython_kernel : bool
        Run an IPython kernel in the main thread.
    kernel_ip : str
        Address of the kernel: ``localhost``, ``auto`` (that of this machine in its network) or an address.
    kernel_matplotlib : str or None
        Matplotlib backend of the kernel, such as ``qt``; None: no figures are shown.
    kernel_connection_file, kernel_connection_dir : str or None
        Name and directory of the kernel's connection file; a file with a name is kept and used again.
    kernel_ports : dict
        Fixed ports by channel (``shell``, ``iopub``, ``stdin``, ``hb``, ``control``).
    orphan_timeout_s : float
        An idle worker that hears nothing from a manager for so long (s) leaves.
    log_level : int
        From which level of :mod:`logging` on the worker's log is written.
    """

    worker_uid: str
    link_address: str
    console_address: str
    crash_path: str = ""
    startup_dir: str | None = None
    startup_profile: str | None = None
    startup_module: str | None = None
    startup_script: str | None = None
    ipython_dir: str | None = None
    encoding: str = "json"
    permissions: dict[str, Any] = field(default_factory=dict)
    keep_re: bool = True
    device_max_depth: int = 0
    ignore_invalid_plans: bool = False
    permitted_re_metadata_keys: list[str] = field(default_factory=lambda: ["/"])
    use_ipython_kernel: bool = False
    kernel_ip: str = "localhost"
    kernel_matplotlib: str | None = None
    kernel_connection_file: str | None = None
    kernel_connection_dir: str | None = None
    kernel_ports: dict[str, int] = field(default_factory=dict)
    orphan_timeout_s: float = 600.0
    log_level: int = logging.INFO

    def to_json(self) -> str:
        """Return the settings as JSON text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkerConfig:
        """Read settings written by :meth:`to_json`."""
        return cls(**json.loads(text))
