"""Entry point of a worker of the pool: ``python -m remanager.worker.pool --config FILE``."""

from __future__ import annotations

import argparse

from remanager.model.pool_worker_config import PoolWorkerConfig
from remanager.worker.pool.process import PoolWorkerProcess
from remanager.worker.settings_file import hold_settings


def main() -> None:
    """Read the settings and run the worker; the interpreter exits after that."""
    parser = argparse.ArgumentParser(prog="python -m remanager.worker.pool", description=__doc__)
    parser.add_argument("--config", required=True, metavar="FILE", help="settings as JSON")
    arguments = parser.parse_args()
    config = PoolWorkerConfig.from_json(hold_settings(arguments.config))
    PoolWorkerProcess(config).run()


if __name__ == "__main__":
    main()
