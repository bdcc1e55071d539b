"""What a script imports from its directory is loaded anew each time; what is installed is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from script_files import write

from remanager.worker import local_imports as module
from remanager.worker.startup import ScriptLoadingError, load_script_file, load_script_into_namespace


@pytest.fixture(autouse=True)
def _restored_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def loaded() -> set[str]:
    return {name for name in sys.modules if name.startswith("mod_li_")}


@pytest.mark.parametrize("libraries", [".venv/lib/python3/site-packages", "env/lib/python3", "src"])
def test_what_is_installed_below_the_script_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, libraries: str
) -> None:
    installed = tmp_path / libraries
    write(
        tmp_path,
        {
            "start.py": "import mod_li_lib.part, mod_li_space.part, mod_li_own",
            "mod_li_own.py": "",
            f"{libraries}/mod_li_lib/__init__.py": "",
            f"{libraries}/mod_li_lib/part.py": "",
            f"{libraries}/mod_li_space/part.py": "",
        },
    )
    sys.path.append(str(installed))
    if not libraries.startswith("."):
        monkeypatch.setattr(module, "_PATH_OF_INTERPRETER", frozenset(sys.path))
    load_script_file(tmp_path / "start.py", {})
    assert loaded() == {"mod_li_lib", "mod_li_lib.part", "mod_li_space", "mod_li_space.part"}
    kept = sys.modules["mod_li_lib.part"]
    ns: dict[str, object] = {}
    load_script_into_namespace(ns, "import mod_li_lib.part as part", root=tmp_path)
    assert ns["part"] is kept


def test_a_clone_that_is_installed_for_editing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"start.py": "import mod_li_lib", "mod_li_lib/mod_li_lib/__init__.py": ""})
    sys.path.append(str(tmp_path / "mod_li_lib"))
    monkeypatch.setattr(module, "_PATH_OF_INTERPRETER", frozenset(sys.path))
    load_script_file(tmp_path / "start.py", {})
    assert loaded() == {"mod_li_lib"}


def test_packages_without_init_files_are_forgotten_with_what_is_in_them(tmp_path: Path) -> None:
    names = [f"mod_li_{letter}" for letter in "abcdefgh"]  # many: sets have no order
    write(tmp_path, {f"{name}/motors/more/sim.py": "x = 1" for name in names})
    write(tmp_path, {"start.py": "\n".join(f"from {name}.motors.more.sim import x" for name in names)})
    ns: dict[str, object] = {}
    load_script_file(tmp_path / "start.py", ns)
    assert ns["x"] == 1
    assert loaded() == set()
    load_script_into_namespace(ns, (tmp_path / "start.py").read_text(), root=tmp_path)
    assert loaded() == set()


def test_cleaning_up_does_not_hide_the_error_of_the_script(tmp_path: Path) -> None:
    script = "import sys\nimport mod_li_a.b.c\ndel sys.modules['mod_li_a']\n1 / 0\n"
    write(tmp_path, {"mod_li_a/b/c.py": "", "start.py": script})
    with pytest.raises(ScriptLoadingError, match=r"start.py': division by zero") as info:
        load_script_file(tmp_path / "start.py", {})
    assert 'start.py", line 4' in info.value.tb


def test_a_package_that_is_partly_installed_is_kept_without_what_is_local(tmp_path: Path) -> None:
    installed = write(tmp_path / ".venv/lib/site-packages", {"mod_li_space/lib.py": ""})
    root = write(tmp_path, {"mod_li_space/own.py": "x = 1", "start.py": "from mod_li_space.own import x"})
    with (root / "start.py").open("a") as script:
        script.write("\nimport mod_li_space.lib")
    sys.path.append(str(installed))
    load_script_file(root / "start.py", {})
    assert loaded() == {"mod_li_space", "mod_li_space.lib"}
    write(root, {"mod_li_space/own.py": "x = 1000"})
    ns: dict[str, object] = {}
    load_script_file(root / "start.py", ns)
    assert ns["x"] == 1000


def test_symbolic_links_change_nothing(tmp_path: Path) -> None:
    write(tmp_path / "shared", {"mod_li_linked/__init__.py": ""})
    real = write(
        tmp_path / "real",
        {
            "start.py": """
                import os, sys
                sys.path.append(os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib"))
                import mod_li_linked, mod_li_below
            """,
            "lib/mod_li_below.py": "",
        },
    )
    (real / "mod_li_linked").symlink_to(tmp_path / "shared/mod_li_linked")
    (tmp_path / "link").symlink_to(real)
    load_script_file(tmp_path / "link/start.py", {})
    assert loaded() == set()
