"""The simulated instrument: start-up code as a lab writes it, and a demonstration that drives it."""

from __future__ import annotations

from pathlib import Path

PROFILE_DIR = Path(__file__).with_name("profile")
"""Directory of the start-up scripts and of the user group permissions."""

DEMO_PROFILE = "remanager_demo"
"""Name of the IPython profile that a kernel uses for the simulated instrument."""


def copy_profile(ipython_dir: Path) -> Path:
    """Copy the simulated instrument into an IPython directory, for a worker with an IPython kernel.

    Parameters
    ----------
    ipython_dir : Path
        IPython directory; made if it does not exist.

    Returns
    -------
    Path
        The start-up directory ``profile_remanager_demo/startup`` in it.
    """
    import shutil  # only here: it is slow to import

    target = ipython_dir / f"profile_{DEMO_PROFILE}" / "startup"
    target.mkdir(parents=True, exist_ok=True)
    for file in PROFILE_DIR.iterdir():
        if file.suffix in {".py", ".yaml"}:
            shutil.copyfile(file, target / file.name)
    return target
