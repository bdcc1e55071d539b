"""Workers in scopes of systemd, apart from the service that starts them."""

from __future__ import annotations

from collections.abc import Sequence

from remanager.manager.state import new_uid


def in_scope(argv: Sequence[str], scope: str) -> list[str]:
    """Return the command that runs ``argv`` in a scope of its own.

    ``systemd-run --scope`` moves itself into the scope and becomes the command, so the process stays a child
    of the one that starts it, with its environment, directory and streams.

    Parameters
    ----------
    argv : sequence of str
        Command and arguments of the worker.
    scope : str
        ``off``: none; ``user``: of the user's service manager; ``system``: of the system's, which needs the
        right to start units.
    """
    if scope == "off":
        return list(argv)
    manager = ["--user"] if scope == "user" else ["--system"]
    unit = f"--unit=remanager-worker-{new_uid()[:8]}"
    return ["systemd-run", *manager, "--scope", "--quiet", "--collect", unit, "--", *argv]
