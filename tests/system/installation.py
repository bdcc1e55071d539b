"""Distributions of the project, and an environment with nothing but one of them and what it needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
BUILD_TIMEOUT_S = 120.0
COMMAND_TIMEOUT_S = 40.0
_PYTHON_PATHS = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}


def copy_of_sources(directory: Path) -> Path:
    """Copy what a checkout has: nothing changes in it while it is built and looked at."""
    kept = {".gitignore", "LICENSE", "README.md", "pyproject.toml"}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    kept |= set(settings["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"])
    for name in sorted(kept):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        elif source.exists():
            shutil.copy(source, directory)
    return directory


def build(source: Path, directory: Path) -> tuple[Path, Path]:
    """Build the source distribution, and from it the wheel; return both."""
    run(
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(directory),
        str(source),
        cwd=directory,
    )
    (sdist,) = directory.glob("*.tar.gz")
    (wheel,) = directory.glob("*.whl")
    return sdist, wheel


def run(*command: str, cwd: Path, status: int = 0, env: dict[str, str] | None = None) -> str:
    """Run a command without the paths of this environment; return what it wrote."""
    kept = {name: value for name, value in os.environ.items() if name not in _PYTHON_PATHS}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**kept, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=BUILD_TIMEOUT_S,
    )
    assert done.returncode == status, f"{command} ended with {done.returncode}:\n{done.stdout[-4000:]}"
    return done.stdout


def names_in(distribution: Path) -> set[str]:
    """Return the paths of the files in a wheel or, below its one directory, in a source distribution."""
    if distribution.suffix == ".whl":
        with zipfile.ZipFile(distribution) as wheel:
            return set(wheel.namelist())
    with tarfile.open(distribution) as sdist:
        return {member.name.partition("/")[2] for member in sdist if member.isfile()}


def required(requirements: list[str]) -> set[str]:
    """Return the names of distributions that are needed without extras, directly and indirectly."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        requirement = Requirement(waiting.pop())
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if needed and name not in found:
            found.add(name)
            waiting += metadata.requires(name) or ()
    return found


class CleanEnvironment:
    """A virtual environment without network: dependencies are links to those of this interpreter.

    Parameters
    ----------
    directory : Path
        Where it is made.
    wheel : Path
        What is installed.
    """

    def __init__(self, directory: Path, wheel: Path) -> None:
        self.directory = directory
        venv.create(directory, symlinks=True)
        self.python = directory / "bin" / "python"
        self.pip("install", "--quiet", "--no-index", "--no-deps", "--no-compile", str(wheel))
        (self.packages,) = directory.glob("lib/python*/site-packages")
        (installed,) = metadata.distributions(name="remanager", path=[str(self.packages)])
        for name in required(installed.requires or []):
            self._link(metadata.distribution(name))

    def _link(self, distribution: metadata.Distribution) -> None:
        for top in {path.parts[0] for path in distribution.files or ()} - {"..", "__pycache__"}:
            link = self.packages / top
            if not link.exists():
                link.symlink_to(Path(str(distribution.locate_file(top))))

    def pip(self, *words: str) -> str:
        """Run the pip of this interpreter on the environment."""
        return run(
            *(
                sys.executable,
                "-m",
                "pip",
                "--disable-pip-version-check",
                "--python",
                str(self.python),
                *words,
            ),
            cwd=self.directory,
        )

    def remanager(self, *words: str, status: int = 0, env: dict[str, str] | None = None) -> str:
        """Run the installed command; return what it wrote."""
        command = str(self.directory / "bin" / "remanager")
        return run(command, *words, cwd=self.directory, status=status, env=env)

    def script(self, code: str, env: dict[str, str] | None = None) -> str:
        """Run Python code; return what it printed."""
        return run(str(self.python), "-c", code, cwd=self.directory, env=env)
