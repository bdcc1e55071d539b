"""What ``--version`` says."""

from __future__ import annotations

import sys

from remanager import __protocol__, __version__

_PYTHON = ".".join(map(str, sys.version_info[:3]))

VERSION = f"remanager {__version__} (Python {_PYTHON}, protocol of {__protocol__})"
