"""Entry point of the command ``remanager`` and of ``python -m remanager``.

``remanager start`` becomes the supervisor, a process that imports nothing but the standard library. The
supervisor starts this entry point again with ``--supervisor-fd``: that process becomes the manager.
"""

from __future__ import annotations

import gc
import sys


def _is_supervisor(argv: list[str]) -> bool:
    """Tell whether the arguments of ``start`` ask for the supervisor (no help, not already its child)."""
    helps = {"-h", "--help"}
    return not any(arg in helps or arg.split("=", 1)[0] == "--supervisor-fd" for arg in argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; default: those of the process.

    Returns
    -------
    int
        Exit status; that of ``start`` is 2 for wrong options, see :mod:`remanager.cli.main` for the others.
    """
    args = sys.argv[1:] if argv is None else argv
    if args[:1] == ["start"]:
        if _is_supervisor(args[1:]):
            from remanager.daemon import supervisor

            return supervisor.run(args[1:])
        # What imports make stays, and so does a queue in memory: looking through all of it often is in vain.
        gc.set_threshold(20_000, 20, 50)
        from remanager.cli import start

        return start.run(args[1:])
    from remanager.cli import main as commands

    return commands.run(args)


if __name__ == "__main__":
    sys.exit(main())
