"""Every sample of the documentation runs, or is at least read by what reads it in use."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from doc_samples import ROOT, Sample, Sandbox, check_script, samples, steps
from system_harness import Daemon, free_port, make_profile

from remanager.daemon.sources import read_configuration
from remanager.plans.permissions import validate_permissions
from remanager_api.zmq.aio import REManagerAPI

pytest.importorskip("bluesky")

PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
}
SAMPLES = {page: found for page, text in PAGES.items() if (found := samples(text))}
RUN = {"python", "console"}
ONLY_READ = {"bash", "yaml", "json"}
NOT_CHECKED = {"text", "ini"}
REPLY_S = 10.0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands for the root directory of the machine of which the pages speak."""
    directory = tmp_path_factory.mktemp("samples")
    for name in ("data/fast/run1", "data/fast/run2", "data/fast/run3"):
        (directory / name).mkdir(parents=True)
        (directory / name / "frame1.raw").write_bytes(b"frame")
    for name in ("data/archive", "opt/beamline/python"):
        (directory / name).mkdir(parents=True)
    return directory


@pytest.fixture(scope="module")
def shared(make_daemon: Callable[..., Daemon], root: Path) -> Daemon:
    """For pages that start none: simulated instrument, everything allowed, the task modules of the pages."""
    profile = make_profile(root / "profile")
    permissions = yaml.safe_load((profile / "user_group_permissions.yaml").read_text())
    permissions["user_groups"]["primary"]["allowed_functions"] = [None]
    (profile / "user_group_permissions.yaml").write_text(yaml.safe_dump(permissions))
    modules = ["remanager.data_movement"]
    for sample in (s for found in SAMPLES.values() for s in found):
        name = sample.noted("file")
        if name and "from remanager.tasks import" in sample.code:
            (root / "opt/beamline/python" / Path(name).name).write_text(sample.code)
            modules.append(Path(name).stem)
    daemon = make_daemon(
        *("--startup-dir", str(profile), "--task-modules", *modules),
        *("--task-paths", str(root / "opt/beamline/python")),
        env={"REMANAGER_DATA_ROOTS": f"{root / 'data/fast'}:{root / 'data/archive'}"},
    )
    daemon.start()
    return daemon


def starts_its_own(found: list[Sample]) -> bool:
    return any(s.language == "console" and re.search(r"^\$ .*remanager start\b", s.code, re.M) for s in found)


def prepare(daemon: Daemon, found: list[Sample]) -> None:
    """Bring the shared daemon into the state in which pages begin: empty, its environment open or closed."""
    daemon.wait_idle()
    opens = any(re.search(r"environment[_ ]open", s.code) for s in found if s.language in RUN)
    exists = daemon.client.call("status")["worker_environment_exists"]
    if exists and opens:
        daemon.close_environment()
    elif not exists and not opens:
        daemon.open_environment()
    daemon.client.ok("queue_clear")
    daemon.client.ok("history_clear")


@pytest.fixture
def sandbox(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> Iterator[tuple[list[Sample], Sandbox]]:
    """The samples of a page, and where they run."""
    found = SAMPLES[request.param]
    env = {}
    if starts_its_own(found):
        control, info = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
        if "zmq_control_addr:" not in PAGES[request.param]:  # variables come before configuration files
            env = {
                "QSERVER_ZMQ_CONTROL_ADDRESS_FOR_SERVER": control,
                "QSERVER_ZMQ_INFO_ADDRESS_FOR_SERVER": info,
            }
    else:
        shared: Daemon = request.getfixturevalue("shared")
        prepare(shared, found)
        control, info = shared.control, shared.info
    monkeypatch.setenv("QSERVER_ZMQ_CONTROL_ADDRESS", control)
    monkeypatch.setenv("QSERVER_ZMQ_INFO_ADDRESS", info)
    # The clients of the pages have the default, which a machine that stands still for a while exceeds.
    monkeypatch.setitem(REManagerAPI.__init__.__kwdefaults__, "timeout_recv", REPLY_S)
    monkeypatch.syspath_prepend(root / "opt/beamline/python")
    directory = tmp_path / "page"
    directory.mkdir()
    places = {"/srv": str(directory), "~": str(directory)}
    places |= {f"/{name}": str(root / name) for name in ("data", "opt/beamline")}
    ports = {"60615": control.rpartition(":")[2], "60625": info.rpartition(":")[2]}
    with Sandbox(directory, env, places, ports) as made:
        yield found, made


def run(sample: Sample, sandbox: Sandbox, page: str) -> None:
    status = int(sample.noted("exit status") or 0)
    if sample.noted("file"):
        sandbox.write(sample.noted("file") or "", sample.code)
    elif sample.note == "output":
        sandbox.output(sample.code)
    elif sample.language == "python":
        # The line numbers of a traceback are those of the page.
        sandbox.python("\n" * sample.line + sample.code, page)
    elif sample.language == "console":
        for command, shown in steps(sample.code):
            sandbox.command(command, shown, status)


PAGES_TO_RUN = [
    page
    for page, found in SAMPLES.items()
    if any(s.language in RUN and not s.noted("not run") and not s.noted("file") for s in found)
]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("sandbox", PAGES_TO_RUN, indirect=True, ids=str)
def test_samples_run(sandbox: tuple[list[Sample], Sandbox], request: pytest.FixtureRequest) -> None:
    page = request.node.callspec.params["sandbox"]
    for sample in sandbox[0]:
        if not sample.noted("not run"):
            try:
                run(sample, sandbox[1], page)
            except BaseException as exc:
                exc.add_note(f"{page}, line {sample.line}")
                raise


@pytest.mark.parametrize("page", SAMPLES)
def test_samples_are_read(page: str, tmp_path: Path) -> None:
    for sample in SAMPLES[page]:
        where = f"{page}, line {sample.line}"
        assert sample.language in RUN | ONLY_READ | NOT_CHECKED, f"{where}: {sample.language!r}"
        if sample.noted("not run") == "":
            pytest.fail(f"{where}: the reason is missing")
        if sample.language == "bash":
            check_script(sample.code)
        elif sample.language == "json":
            json.loads(sample.code)
        elif sample.language == "python":
            compile(sample.code, where, "exec", 0x2000)
        elif sample.language == "yaml":
            check_yaml(sample.code, tmp_path)


def check_yaml(text: str, directory: Path) -> None:
    if "user_groups" in (content := yaml.safe_load(text)):
        validate_permissions(content)
    else:
        (directory / "configuration.yml").write_text(text)
        read_configuration(directory / "configuration.yml")
