"""Scripts and modules for the tests of start-up code."""

from __future__ import annotations

import textwrap
from pathlib import Path


def write(directory: Path, files: dict[str, str]) -> Path:
    """Write files below a directory, without the indentation of their texts; return the directory."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return directory
