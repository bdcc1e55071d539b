"""Loading of start-up code and of uploaded scripts into the namespace of the worker."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import linecache
import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from remanager.model.worker_config import WorkerConfig
from remanager.plans.registry import clear_registered_items
from remanager.worker import compat
from remanager.worker.compat.ipython import PlainShell, get_ipython
from remanager.worker.failures import exception_text
from remanager.worker.local_imports import local_imports

logger = logging.getLogger(__name__)

Namespace = dict[str, Any]

_RUN_ENGINE_NAMES = ("RE", "db")
# What the import system keeps in a module.
_NAMES_OF_IMPORT = frozenset({*vars(ModuleType("")), "__builtins__", "__cached__", "__file__", "__path__"})
_MISSING = object()
_NEEDS_IPYTHON = (
    "Commands of IPython (%, !, get_ipython().run_line_magic) need an IPython kernel: "
    "--use-ipython-kernel ON, with the directory as that of a profile (--startup-profile, --ipython-dir)"
)


class ScriptLoadingError(Exception):
    """Start-up code or a script failed.

    Attributes
    ----------
    tb : str
        Traceback that begins in the user's code, followed by the message.
    """

    def __init__(self, msg: str, tb: str) -> None:
        super().__init__(msg)
        self.tb = tb


def load_startup(config: WorkerConfig) -> Namespace:
    """Load the start-up code that the settings name into a new namespace.

    Plans and devices registered before are forgotten.

    Parameters
    ----------
    config : WorkerConfig
        ``startup_dir``, or ``startup_profile`` and ``ipython_dir``, or ``startup_script``, or
        ``startup_module`` is used; with none of them nothing is loaded.

    Returns
    -------
    dict
        The namespace.

    Raises
    ------
    ScriptLoadingError
        The code raised an exception.
    OSError, ImportError
        There is no start-up code at that place.
    ValueError
        The settings name several places.
    """
    directory = _startup_directory(config)
    places = (directory, config.startup_script, config.startup_module)
    if sum(place is not None for place in places) > 1:
        raise ValueError("Multiple sources of the startup code were specified.")
    ns = new_namespace(ipython_kernel=config.use_ipython_kernel)
    if directory is not None:
        load_directory(directory, ns)
    elif config.startup_script is not None:
        load_script_file(_absolute(config.startup_script), ns)
    elif config.startup_module is not None:
        load_module(config.startup_module, ns)
    return ns


def new_namespace(*, ipython_kernel: bool) -> Namespace:
    """Return a namespace that start-up code can reach; what was registered before is forgotten.

    It is that of the module ``__main__``, as in IPython.
    """
    compat.set_worker_environment(ipython_kernel=ipython_kernel)
    compat.install()
    clear_registered_items()
    # Spawned processes import the main module anew: the worker's, which does nothing then.
    spec = sys.modules["__main__"].__spec__
    sys.modules["__main__"] = main = ModuleType("__main__")
    main.__spec__ = spec
    ns = vars(main)
    compat.set_user_namespace(ns, use_ipython=ipython_kernel)
    return ns


def script_root(config: WorkerConfig) -> Path:
    """Return the directory from which uploaded scripts may import local modules; it may not exist."""
    if config.startup_script is not None:
        return _absolute(config.startup_script).parent
    return _startup_directory(config) or profile_directory(config.startup_profile, config.ipython_dir)


def profile_directory(profile: str | None, ipython_dir: str | None) -> Path:
    """Return the start-up directory of an IPython profile.

    Parameters
    ----------
    profile : str or None
        Name of the profile; None stands for ``default``.
    ipython_dir : str or None
        Directory of IPython; None stands for ``$IPYTHONDIR`` or ``~/.ipython``.
    """
    base = ipython_dir or os.environ.get("IPYTHONDIR") or "~/.ipython"
    return _absolute(base) / f"profile_{profile or 'default'}" / "startup"


def load_directory(directory: Path, ns: Namespace) -> None:
    """Run all ``*.py`` and ``*.ipy`` files of a directory, in the order of their names, in one namespace.

    Modules beside the files can be imported while the files run. ``get_ipython`` gives a stand-in for the
    IPython shell; there are no magic commands.

    Raises
    ------
    OSError
        The directory does not exist or holds no start-up files.
    ScriptLoadingError
        A file raised an exception.
    """
    if not directory.exists():
        raise OSError(f"Path '{directory}' does not exist.")
    if not directory.is_dir():
        raise OSError(f"Failed to load the profile collection. Path '{directory}' is not a directory.")
    files = sorted(
        path
        for path in directory.iterdir()
        if path.suffix in (".py", ".ipy") and not path.name.startswith(".")
    )
    if not files:
        raise OSError(f"The directory '{directory}' contains no startup files (*.py, *.ipy).")
    ns["get_ipython"] = get_ipython
    importlib.invalidate_caches()
    is_new = str(directory) not in sys.path
    if is_new:
        sys.path.append(str(directory))
    try:
        for path in files:
            logger.info("Loading startup file '%s'", path)
            _run_file(path, ns, substitute_ipython=True)
    finally:
        if is_new and str(directory) in sys.path:
            sys.path.remove(str(directory))


def load_script_file(path: Path, ns: Namespace) -> None:
    """Run a script in a namespace. Modules beside it can be imported while it runs.

    Raises
    ------
    ImportError
        The file does not exist.
    ScriptLoadingError
        The script raised an exception.
    """
    if not path.is_file():
        raise ImportError(f"Failed to load the script '{path}': script was not found")
    with local_imports(path.parent):
        _run_file(path, ns)


def load_module(name: str, ns: Namespace) -> None:
    """Import a module and copy its names into a namespace.

    Raises
    ------
    ScriptLoadingError
        The import failed.
    """
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name)
    except BaseException as exc:  # the code may raise anything, SystemExit included
        raise loading_error(f"Error while loading module {name!r}: {exception_text(exc)}", exc) from exc
    ns.update({key: value for key, value in vars(module).items() if key not in _NAMES_OF_IMPORT})


def load_script_into_namespace(
    ns: Namespace, script: str, *, update_re: bool = False, root: Path | None = None
) -> None:
    """Run the text of a script in the namespace of a worker.

    What a failing script did before it failed stays.

    Parameters
    ----------
    ns : dict
        The namespace.
    script : str
        Text of the script; nothing is done for an empty one.
    update_re : bool
        Let the script replace ``RE`` and ``db``; otherwise they are put back.
    root : Path or None
        Directory from which the script may import local modules; they are imported anew each time.

    Raises
    ------
    ScriptLoadingError
        The script raised an exception.
    """
    if not script:
        return
    filename = str(root / "script") if root else "script"
    saved = {} if update_re else {name: ns.get(name, _MISSING) for name in _RUN_ENGINE_NAMES}
    lines = script.splitlines(keepends=True)
    # An entry without a time is never checked against the file system; tracebacks take source lines from it.
    linecache.cache[filename] = (len(script), None, lines, filename)
    try:
        with local_imports(root):
            ns.update(__name__="__main__", __file__=filename)
            exec(compile(script, filename, "exec", dont_inherit=True), ns)
    except BaseException as exc:
        # The misspelling is part of the protocol: clients match on it.
        raise loading_error(f"Failed to execute stript: {exception_text(exc)}", exc) from exc
    finally:
        for name, value in saved.items():
            if value is _MISSING:
                ns.pop(name, None)
            else:
                ns[name] = value


def _startup_directory(config: WorkerConfig) -> Path | None:
    if config.startup_dir is not None:
        return _absolute(config.startup_dir)
    if config.startup_script is not None or config.startup_module is not None:
        return None
    if config.startup_profile is not None or config.ipython_dir is not None:
        return profile_directory(config.startup_profile, config.ipython_dir)
    return None


def _absolute(path: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))


def _run_file(path: Path, ns: Namespace, *, substitute_ipython: bool = False) -> None:
    ns.update(__name__="__main__", __file__=str(path))
    try:
        tree = ast.parse(path.read_bytes(), str(path))
        if substitute_ipython:
            tree = ast.fix_missing_locations(_IPythonSubstitution().visit(tree))
        exec(compile(tree, str(path), "exec", dont_inherit=True), ns)
    except BaseException as exc:  # the code may raise anything, SystemExit included
        msg = f"Error while executing script {str(path)!r}: {exception_text(exc)}"
        if substitute_ipython and _needs_ipython(path, exc):
            msg = f"{msg}\n{_NEEDS_IPYTHON}"
        raise loading_error(msg, exc) from exc
    finally:
        ns.pop("__file__", None)


def _needs_ipython(path: Path, exc: BaseException) -> bool:
    """Tell whether a file failed because it may have commands of IPython, or asked the stand-in for them."""
    if isinstance(exc, SyntaxError):
        return path.suffix == ".ipy" and exc.filename == str(path)
    return isinstance(exc, AttributeError) and isinstance(exc.obj, PlainShell)


class _IPythonSubstitution(ast.NodeTransformer):
    """Makes imports of ``get_ipython`` from IPython give the stand-in."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.AST]:
        module = node.module or ""
        substituted = [alias for alias in node.names if alias.name == "get_ipython"]
        if node.level or module.split(".")[0] != "IPython" or not substituted:
            return node
        result: list[ast.AST] = [
            ast.copy_location(ast.ImportFrom(get_ipython.__module__, substituted, 0), node)
        ]
        if others := [alias for alias in node.names if alias.name != "get_ipython"]:
            result.append(ast.copy_location(ast.ImportFrom(node.module, others, 0), node))
        return result


def loading_error(
    msg: str, exc: BaseException, is_own: Callable[[str], bool] | None = None
) -> ScriptLoadingError:
    """Return the error that tells of an exception of user code.

    Parameters
    ----------
    msg : str
        What went wrong.
    exc : BaseException
        What the code raised.
    is_own : callable, optional
        Tells by a frame's file whether it belongs to the loader and not to the user's code.
    """
    if isinstance(exc, ModuleNotFoundError) and importlib.util.find_spec("bluesky") is None:
        msg += f"\nbluesky is not installed for {sys.executable}: pip install 'remanager[bluesky]'"
    frames = traceback.TracebackException(
        type(exc), exc, _user_frames(exc.__traceback__, is_own or _is_loader)
    )
    text = "".join(frames.format())
    if not text.startswith("Traceback"):
        # Without frames, as for a syntax error, Python leaves the header out; clients expect it.
        text = f"Traceback (most recent call last):\n{text}"
    return ScriptLoadingError(msg, f"{text}\n{msg}")


def _user_frames(tb: TracebackType | None, is_own: Callable[[str], bool]) -> TracebackType | None:
    """Skip the frames of the loader that lead to the user's code."""
    while tb is not None and is_own(tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    return tb


def _is_loader(filename: str) -> bool:
    return filename in (__file__, importlib.__file__, ast.__file__) or filename.startswith(
        "<frozen importlib"
    )
