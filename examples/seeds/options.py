"""The command line of the examples."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace


def parse(description: str | None, **more: str) -> Namespace:
    """Return the options; ``more`` has further ones with what they are."""
    parser = ArgumentParser(description=description)
    parser.add_argument("--address", default="tcp://localhost:60615", help="control address of the manager")
    parser.add_argument("--user", default="dev_user_01", help="in whose name tasks are submitted")
    parser.add_argument("--user-group", default="root", help="group whose permissions hold")
    parser.add_argument("--timeout", type=float, default=2.0, help="how long to wait for an answer (s)")
    for name, text in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", required=True, help=text)
    return parser.parse_args()
