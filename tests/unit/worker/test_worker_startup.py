from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from script_files import write

from remanager.model.worker_config import WorkerConfig
from remanager.plans.registry import register_plan, registered_plans
from remanager.worker.compat import modules
from remanager.worker.startup import (
    ScriptLoadingError,
    load_script_into_namespace,
    load_startup,
    profile_directory,
    script_root,
)


@pytest.fixture(autouse=True)
def _restored_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what loading does to the process: variables, finders, imported modules."""
    for name in ("_QSERVER_RE_WORKER_ACTIVE", "_QSERVER_RUNNING_IPYTHON_KERNEL"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    before = dict(sys.modules)
    yield
    modules.uninstall()
    for name in set(sys.modules) - set(before):
        del sys.modules[name]
    sys.modules.update(before)


def config(**changes: Any) -> WorkerConfig:
    return WorkerConfig(worker_uid="w", link_address="", console_address="", **changes)


def test_files_of_a_directory_share_a_namespace_in_order(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "20-second.py": "order.append((2, __file__, __name__))",
            "10-first.py": "order = [(1, __file__, __name__)]\ndef later():\n    return helper()",
            "30-third.ipy": "def helper():\n    return 'ok'",
            ".hidden.py": "1 / 0",
            "notes.txt": "no code",
        },
    )
    ns = load_startup(config(startup_dir=str(tmp_path)))
    first, second = str(tmp_path / "10-first.py"), str(tmp_path / "20-second.py")
    assert ns["order"] == [(1, first, "__main__"), (2, second, "__main__")]
    assert ns["later"]() == "ok"
    assert "__file__" not in ns
    assert ns["__name__"] == "__main__"


def test_main_module_is_the_namespace(tmp_path: Path) -> None:
    """As in IPython: libraries put devices into ``__main__``, and look names of classes up there."""
    write(
        tmp_path,
        {
            "a.py": """
                from __future__ import annotations
                import pickle, sys, typing
                class Axis: pass
                class Stage:
                    x: Axis
                hints = typing.get_type_hints(Stage)
                copy = pickle.loads(pickle.dumps(Axis()))
                setattr(sys.modules["__main__"], "added", 5)
                seen = added
            """
        },
    )
    ns = load_startup(config(startup_dir=str(tmp_path)))
    assert ns["hints"] == {"x": ns["Axis"]}
    assert isinstance(ns["copy"], ns["Axis"])
    assert ns["added"] == ns["seen"] == 5


def test_main_module_keeps_its_identity_beside_a_start_up_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes that are spawned run the main module again: that must never be the start-up code."""
    write(tmp_path, {"lab_rm_main.py": "import sys\nsys.modules['__main__'].added = 5\nown = 6"})
    monkeypatch.syspath_prepend(tmp_path)
    spec = sys.modules["__main__"].__spec__
    ns = load_startup(config(startup_module="lab_rm_main"))
    assert (ns["added"], ns["own"]) == (5, 6)
    main = sys.modules["__main__"]
    assert (main.__name__, main.__spec__) == ("__main__", spec)
    assert not hasattr(main, "__file__")


def test_annotations_are_not_postponed_by_the_loader(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "def f(x: int): pass"})
    assert load_startup(config(startup_dir=str(tmp_path)))["f"].__annotations__ == {"x": int}
    ns: dict[str, Any] = {}
    load_script_into_namespace(ns, "def f(x: int): pass")
    assert ns["f"].__annotations__ == {"x": int}


def test_local_imports_beside_the_files(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"profile/a.py": "import local_rm_a.part as p\nx = p.X", "profile/local_rm_a/part.py": "X = 5"},
    )
    path = list(sys.path)
    assert load_startup(config(startup_dir=str(tmp_path / "profile")))["x"] == 5
    assert sys.path == path


@pytest.mark.parametrize(
    "code",
    [
        "from IPython import get_ipython\nshell = get_ipython()",
        "from IPython.core.getipython import get_ipython as g\nshell = g()",
        "if True:\n    from IPython import (\n        get_ipython,\n    )\nshell = get_ipython()",
        "def f():\n    from IPython import get_ipython\n    return get_ipython()\nshell = f()",
        "shell = get_ipython()",
    ],
)
def test_get_ipython_gives_the_namespace(tmp_path: Path, code: str) -> None:
    write(tmp_path, {"a.py": f"marker = 1\n{code}\nshell.log.debug('text')\n"})
    ns = load_startup(config(startup_dir=str(tmp_path)))
    assert ns["shell"].user_ns is ns


def test_other_names_are_still_imported_from_ipython(tmp_path: Path) -> None:
    write(
        tmp_path, {"IPython.py": "version_info = 7", "a.py": "from IPython import version_info, get_ipython"}
    )
    sys.modules.pop("IPython", None)
    sys.path.insert(0, str(tmp_path))
    (tmp_path / "profile").mkdir()
    (tmp_path / "a.py").rename(tmp_path / "profile" / "a.py")
    assert load_startup(config(startup_dir=str(tmp_path / "profile")))["version_info"] == 7


def test_failing_file_gives_a_traceback_of_the_user(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "x = 1\n\ndef f():\n    raise ValueError('no beam')\n\nf()\n"})
    with pytest.raises(ScriptLoadingError) as info:
        load_startup(config(startup_dir=str(tmp_path)))
    file = tmp_path / "a.py"
    assert str(info.value) == f"Error while executing script {str(file)!r}: no beam"
    lines = info.value.tb.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1] == f'  File "{file}", line 6, in <module>'
    assert "startup.py" not in info.value.tb
    assert "ValueError: no beam" in lines
    assert info.value.tb.endswith(str(info.value))


@pytest.mark.parametrize("code", ["x = (", "raise SystemExit(3)", "import rm_missing_module", "x\0"])
def test_every_failure_is_reported(tmp_path: Path, code: str) -> None:
    write(tmp_path, {"a.py": code})
    with pytest.raises(ScriptLoadingError, match="Error while executing script") as info:
        load_startup(config(startup_dir=str(tmp_path)))
    assert info.value.tb.startswith("Traceback (most recent call last):\n")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("assert False", "AssertionError"),
        ("exit()", "SystemExit(None)"),
        ("class Odd(Exception):\n    __str__ = None\nraise Odd", "Odd"),
    ],
)
def test_failure_without_a_text_is_named(tmp_path: Path, code: str, reason: str) -> None:
    file = write(tmp_path, {"a.py": code}) / "a.py"
    with pytest.raises(ScriptLoadingError) as info:
        load_startup(config(startup_dir=str(tmp_path)))
    assert str(info.value) == f"Error while executing script {str(file)!r}: {reason}"
    with pytest.raises(ScriptLoadingError) as info:
        load_script_into_namespace({}, code)
    assert str(info.value) == f"Failed to execute stript: {reason}"


@pytest.mark.parametrize(
    ("name", "code", "hint"),
    [
        ("00.ipy", "%load_ext autoreload", True),
        ("00.ipy", "x = 1\n!ls", True),
        ("00.py", "get_ipython().run_line_magic('load_ext', 'autoreload')", True),
        ("00.py", "x = (", False),
        ("00.ipy", "eval('x = (')", False),
        ("00.ipy", "object().missing", False),
    ],
)
def test_commands_of_ipython_need_a_kernel(tmp_path: Path, name: str, code: str, hint: bool) -> None:
    with pytest.raises(ScriptLoadingError) as info:
        load_startup(config(startup_dir=str(write(tmp_path, {name: code}))))
    assert ("--use-ipython-kernel ON" in str(info.value)) is hint
    assert info.value.tb.endswith(str(info.value))


def test_directories_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"Path .+ does not exist"):
        load_startup(config(startup_dir=str(tmp_path / "none")))
    with pytest.raises(OSError, match=r"contains no startup files \(\*\.py, \*\.ipy\)"):
        load_startup(config(startup_dir=str(tmp_path)))
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="is not a directory"):
        load_startup(config(startup_dir=str(tmp_path / "file")))


def test_ipython_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"profile_lab/startup/a.py": "x = 1", "profile_default/startup/a.py": "x = 2"})
    by_name = config(startup_profile="lab", ipython_dir=str(tmp_path))
    assert load_startup(by_name)["x"] == 1
    assert script_root(by_name) == tmp_path / "profile_lab" / "startup"
    assert load_startup(config(ipython_dir=str(tmp_path)))["x"] == 2
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    assert load_startup(config(startup_profile="lab"))["x"] == 1
    monkeypatch.delenv("IPYTHONDIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert profile_directory(None, None) == tmp_path / ".ipython" / "profile_default" / "startup"


def test_script_imports_anew_what_lies_beside_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "script.py": "from mod_rm_b.part import X\nfrom mod_rm_c import Y\nplace = __file__",
            "mod_rm_b/part.py": "X = 1",
            "mod_rm_c.py": "Y = 1",
        },
    )
    settings = config(startup_script=str(tmp_path / "script.py"))
    ns = load_startup(settings)
    assert (ns["X"], ns["Y"], ns["place"]) == (1, 1, str(tmp_path / "script.py"))
    assert not [name for name in sys.modules if name.startswith("mod_rm_")]
    write(tmp_path, {"mod_rm_b/part.py": "X = 1000", "mod_rm_c.py": "Y = 1000"})
    ns = load_startup(settings)
    assert (ns["X"], ns["Y"]) == (1000, 1000)
    assert script_root(settings) == tmp_path


def test_missing_script(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="script was not found"):
        load_startup(config(startup_script=str(tmp_path / "script.py")))


def test_module(tmp_path: Path) -> None:
    write(tmp_path, {"package_rm_d/__init__.py": "", "package_rm_d/startup.py": "from . import other\nx = 1"})
    write(tmp_path, {"package_rm_d/other.py": "", "package_rm_d/bad.py": "1 / 0"})
    sys.path.insert(0, str(tmp_path))
    settings = config(startup_module="package_rm_d.startup")
    assert load_startup(settings)["x"] == 1
    beside = replace(settings, ipython_dir=str(tmp_path))
    assert script_root(beside) == tmp_path / "profile_default" / "startup"
    in_kernel = config(startup_module="m", ipython_dir=str(tmp_path), use_ipython_kernel=True)
    assert script_root(in_kernel) == tmp_path / "profile_default" / "startup"
    with pytest.raises(
        ScriptLoadingError, match=r"loading module 'package_rm_d.bad': division by zero"
    ) as info:
        load_startup(config(startup_module="package_rm_d.bad"))
    assert info.value.tb.splitlines()[1].strip().startswith(f'File "{tmp_path / "package_rm_d" / "bad.py"}"')


def test_no_start_up_code_and_too_much_of_it(tmp_path: Path) -> None:
    assert all(name.startswith("__") for name in load_startup(config()))
    with pytest.raises(ValueError, match="Multiple sources"):
        load_startup(config(startup_dir=str(tmp_path), startup_module="module"))


def test_questions_get_true_answers_and_registrations_are_forgotten(tmp_path: Path) -> None:
    register_plan("old")
    write(
        tmp_path, {"a.py": "import os\nanswers = {k: v for k, v in os.environ.items() if '_QSERVER_R' in k}"}
    )
    ns = load_startup(config(startup_dir=str(tmp_path)))
    assert ns["answers"] == {"_QSERVER_RE_WORKER_ACTIVE": "1", "_QSERVER_RUNNING_IPYTHON_KERNEL": "0"}
    load_startup(config(use_ipython_kernel=True))
    assert os.environ["_QSERVER_RUNNING_IPYTHON_KERNEL"] == "1"
    assert registered_plans() == {}


@pytest.mark.parametrize("update_re", [False, True])
def test_uploaded_script_and_the_run_engine(update_re: bool) -> None:
    ns: dict[str, Any] = {"RE": "old", "x": 1}
    load_script_into_namespace(ns, "RE = 'new'\ndb = 'new'\nx += 1", update_re=update_re)
    assert ns["x"] == 2
    assert ns["RE"] == ("new" if update_re else "old")
    assert ns.get("db") == ("new" if update_re else None)
    assert ("db" in ns) is update_re


def test_uploaded_script_knows_its_place(tmp_path: Path) -> None:
    write(tmp_path, {"local_rm_e.py": "X = 7"})
    ns: dict[str, Any] = {}
    load_script_into_namespace(ns, "from local_rm_e import X\nassert __name__ == '__main__'", root=tmp_path)
    assert ns["X"] == 7
    assert ns["__file__"] == str(tmp_path / "script")
    load_script_into_namespace(ns, "y = 1", root=tmp_path / "missing")
    load_script_into_namespace(ns, "")
    assert ns["y"] == 1


def test_failing_uploaded_script_keeps_what_it_did() -> None:
    ns: dict[str, Any] = {"RE": "old"}
    with pytest.raises(ScriptLoadingError) as info:
        load_script_into_namespace(ns, "a = 50\nRE = None\nb = c\n")
    assert ns["a"] == 50
    assert ns["RE"] == "old"
    assert str(info.value) == "Failed to execute stript: name 'c' is not defined"
    assert info.value.tb.splitlines()[1:3] == ['  File "script", line 3, in <module>', "    b = c"]
    with pytest.raises(ScriptLoadingError, match="unexpected indent"):
        load_script_into_namespace(ns, "def f():\n    a = 1\n     b = 2\n")
