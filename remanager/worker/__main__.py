"""Entry point of the environment worker: ``python -m remanager.worker --config FILE``."""

from __future__ import annotations

import argparse

from remanager.model.worker_config import WorkerConfig
from remanager.worker.process import WorkerProcess
from remanager.worker.settings_file import hold_settings


def main() -> None:
    """Read the settings and run the worker; the interpreter exits after that."""
    parser = argparse.ArgumentParser(prog="python -m remanager.worker", description=__doc__)
    parser.add_argument("--config", required=True, metavar="FILE", help="settings as JSON")
    arguments = parser.parse_args()
    config = WorkerConfig.from_json(hold_settings(arguments.config))
    WorkerProcess(config).run()


if __name__ == "__main__":
    main()
