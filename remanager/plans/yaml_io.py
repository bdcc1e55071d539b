"""Reading and writing YAML files, with the C library where it is present.

PyYAML is imported on first use: a manager that has no YAML file to read does not pay for it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def read_yaml(path: str | Path) -> Any:
    """Read a file of plain YAML.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The content is not YAML of plain data.
    """
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with open(path, encoding="utf-8") as stream:
        try:
            return yaml.load(stream, Loader=loader)
        except yaml.YAMLError as exc:
            raise ValueError(f"invalid YAML: {exc}") from exc


def write_yaml(path: str | Path, content: object, comment: str) -> None:
    """Write a file of plain YAML; readers see the old content or the new one, never a part.

    Parameters
    ----------
    path : str or Path
        A symbolic link is followed.
    content : object
        Plain data.
    comment : str
        One line at the head of the file.

    Raises
    ------
    OSError
        The file cannot be written.
    ValueError
        The content is not plain data.
    """
    import yaml

    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    try:
        text = yaml.dump(content, Dumper=dumper)
    except yaml.YAMLError as exc:
        raise ValueError(f"content cannot be written as YAML: {exc}") from exc
    target = Path(path).resolve()
    scratch = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(scratch, "w", encoding="utf-8") as stream:
            stream.write(f"# {comment}\n")
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(scratch, target)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
