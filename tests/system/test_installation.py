"""What is handed out: complete, without stray files, and of use without any extra."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from installation import ROOT, CleanEnvironment, build, copy_of_sources, names_in, run
from system_harness import Daemon, plan

pytestmark = pytest.mark.timeout(240)

EXTRAS = {"bluesky", "ophyd", "matplotlib", "IPython", "httpx", "websockets", "redis", "numpy", "pytest"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def distributions(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(sources, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def clean(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> CleanEnvironment:
    return CleanEnvironment(tmp_path_factory.mktemp("clean") / "env", distributions[1])


class InstalledDaemon(Daemon):
    """A daemon of the clean environment, in a directory with modules that must not be imported."""

    def __init__(self, clean: CleanEnvironment, directory: Path) -> None:
        super().__init__(directory / "state")
        self.clean = clean
        self.directory = directory
        for name in ("json", "remanager", "zmq"):
            (directory / f"{name}.py").write_text("raise SystemExit('the wrong module was imported')")

    def command(self, *more: str) -> list[str]:
        """Return the command line."""
        program = str(self.clean.directory / "bin" / "remanager")
        return ["env", "-C", str(self.directory), program, *super().command(*more)[3:]]


@pytest.fixture(scope="module")
def daemon(clean: CleanEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    made = InstalledDaemon(clean, tmp_path_factory.mktemp("installed"))
    try:
        made.start()
        yield made
    finally:
        made.close()


def files_below(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_wheel_has_the_packages_and_nothing_else(sources: Path, distributions: tuple[Path, Path]) -> None:
    names = names_in(distributions[1])
    packages = {n for n in names if ".dist-info/" not in n}
    in_api = files_below(sources / "api")
    assert packages == in_api | {f"remanager/{name}" for name in files_below(sources / "remanager")}
    for needed in (
        "remanager/py.typed",
        "remanager_api/py.typed",
        "remanager/store/schema/0001_initial.sql",
        "remanager/store/statements/task.sql",
        "remanager/demo/profile/user_group_permissions.yaml",
        "remanager/cli/completion/remanager.zsh",
    ):
        assert needed in packages
    assert any(n.endswith("/licenses/LICENSE") for n in names)


def test_source_distribution_has_everything(sources: Path, distributions: tuple[Path, Path]) -> None:
    assert names_in(distributions[0]) == files_below(sources) | {"PKG-INFO"}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no working copy")
def test_nothing_of_the_working_copy_is_forgotten(sources: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    present = {name for name in tracked.stdout.split("\0") if name and (ROOT / name).exists()}
    assert {n for n in present - files_below(sources) if not n.startswith(".ci/")} == set()


def test_metadata(clean: CleanEnvironment) -> None:
    clean.pip("check")
    shown = clean.pip("show", "remanager")
    assert "Requires: click, cronsim, msgpack, psutil, pydantic, pyyaml, pyzmq, rich" in shown
    code = "from importlib.metadata import metadata as m; print(m('remanager').get_all('License-Expression'))"
    assert clean.script(code) == "['BSD-3-Clause']\n"


def test_extras_are_not_there(clean: CleanEnvironment) -> None:
    code = f"import importlib.util as u; print([n for n in {sorted(EXTRAS)} if u.find_spec(n)])"
    assert clean.script(code) == "[]\n"


@pytest.mark.parametrize("start", [["bin/remanager"], ["bin/python", "-m", "remanager"]])
def test_command_starts(clean: CleanEnvironment, start: list[str]) -> None:
    command = [str(clean.directory / start[0]), *start[1:]]
    assert run(*command, "--version", cwd=clean.directory).startswith("remanager 0.")
    assert "Groups of commands" in run(*command, "--help", cwd=clean.directory)
    assert "--state-dir" in run(*command, "start", "--help", cwd=clean.directory)
    assert "complete -F _remanager" in run(*command, "completion", "bash", cwd=clean.directory)


def test_every_command_has_help(clean: CleanEnvironment) -> None:
    code = """
import click
from remanager.cli.main import LazyGroup, group
def walk(parent, path):
    for name in parent.list_commands(None):
        command = parent.get_command(None, name)
        if isinstance(command, LazyGroup):
            walk(command, [*path, name])
        elif [*path, name] != ["start"]:
            command.get_help(click.Context(command))
            print(*path, name)
walk(group, [])
"""
    listed = clean.script(code).splitlines()
    assert {"demo", "monitor", "import-redis", "keys add", "queue start"} <= set(listed)


def test_every_module_of_the_client_can_be_imported(clean: CleanEnvironment) -> None:
    code = """
import importlib, pkgutil
import remanager_api
for module in pkgutil.walk_packages(remanager_api.__path__, "remanager_api."):
    try:
        importlib.import_module(module.name)
    except ImportError as exc:
        assert "pip install 'remanager[" in str(exc), (module.name, exc)
    print(module.name)
"""
    assert {"remanager_api.zmq.aio", "remanager_api.http"} <= set(clean.script(code).split())


def test_client_of_the_base_installation(clean: CleanEnvironment, daemon: Daemon) -> None:
    code = """
import asyncio
from remanager_api import BFunc, BPlan, RequestFailedError
from remanager_api.zmq import REManagerAPI
from remanager_api.zmq.aio import REManagerAPI as AsyncAPI

with REManagerAPI(timeout_recv=10) as RM:
    print(RM.status()["manager_state"], RM.queue_get()["items"])
    try:
        RM.item_add(BPlan("count", ["det1"]))
    except RequestFailedError as exc:
        print("refused", exc)

async def main():
    async with AsyncAPI(timeout_recv=10) as RM:
        print((await RM.ping())["msg"])

asyncio.run(main())
"""
    env = {"QSERVER_ZMQ_CONTROL_ADDRESS": daemon.control, "QSERVER_ZMQ_INFO_ADDRESS": daemon.info}
    lines = clean.script(code, env).splitlines()
    assert lines[0] == "idle []"
    assert lines[1].startswith("refused ")
    assert lines[-1].startswith("RE Manager")


def test_commands_of_the_base_installation(clean: CleanEnvironment, daemon: Daemon) -> None:
    assert "RE Manager" in clean.remanager("ping", "--address", daemon.control)
    assert "idle" in clean.remanager("status", "-a", daemon.control)
    assert "queue is empty" in clean.remanager("queue", "get", "-a", daemon.control)
    assert (
        "no answer"
        in clean.remanager("ping", "-a", "tcp://127.0.0.1:9", "--timeout", "0.2", status=3).lower()
    )


def test_missing_extras_are_named(clean: CleanEnvironment, daemon: Daemon) -> None:
    text = clean.remanager("import-redis", "--state-dir", str(clean.directory / "unused"), status=5)
    assert "pip install 'remanager[import-redis]'" in text
    assert not (clean.directory / "unused").exists()
    with daemon.listen() as listener:
        text = clean.remanager("environment", "open", "--wait", "-a", daemon.control, status=5)
        listener.wait_text(r"pip install 'remanager\[bluesky\]'")
    assert "remanager[bluesky]" in text
    assert "remanager[bluesky]" in clean.remanager("demo", status=1)
    code = "from remanager_api.http import REManagerAPI; REManagerAPI(http_server_uri='http://localhost:1')"
    failed = run(str(clean.python), "-c", code, cwd=clean.directory, status=1)
    assert "remanager[http]" in failed
    assert daemon.client.refused("queue_item_execute", item=plan("count"), user="a", user_group="primary")


def test_types_reach_the_user(clean: CleanEnvironment, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    words = ["--strict", "--python-executable", str(clean.python), "--cache-dir", str(tmp_path / "cache")]
    run(sys.executable, "-m", "mypy", "--config-file", "", *words, str(script), cwd=tmp_path)
    script.write_text(SCRIPT + "RM.environment_open(1, 2, 3)\nreveal_type(RM)\n")
    text = run(sys.executable, "-m", "mypy", "--config-file", "", *words, str(script), cwd=tmp_path, status=1)
    assert "Too many" in text
    assert "Any" not in text.rpartition("Revealed type")[2]


SCRIPT = """\
from remanager_api import BFunc, BPlan, RequestFailedError, RequestTimeoutError, WaitTimeoutError
from remanager_api.zmq import REManagerAPI
from remanager_api.zmq.aio import REManagerAPI as AsyncREManagerAPI


def measure(RM: REManagerAPI, samples: list[str]) -> list[str]:
    for sample in samples:
        RM.item_add(BPlan("count", ["det1"], num=3, md={"sample": sample}))
    RM.queue_start()
    try:
        RM.wait_for_idle(timeout=60)
    except WaitTimeoutError:
        RM.queue_stop()
    history = RM.history_get()
    return [str(item["item_uid"]) for item in history["items"]]


async def watch(RM: AsyncREManagerAPI) -> bool:
    status = await RM.status()
    reply = await RM.function_execute(BFunc("read_status"))
    await RM.wait_for_completed_task(reply["task_uid"])
    return bool(status["worker_environment_exists"])


RM = REManagerAPI()
try:
    print(measure(RM, ["copper"]))
except (RequestFailedError, RequestTimeoutError) as exc:
    print(exc)
RM.close()
"""
