"""The service under a real systemd, which runs in name spaces of its own.

It needs root, systemd with its journal and D-Bus, and ``SYSTEMD_TEST=1``: ``make service-test``. What it
changes below /etc, /run, /var and /root is seen in its mount name space only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from system_harness import USER, RawClient, free_port, plan

from remanager.demo import PROFILE_DIR

SYSTEMD = Path("/lib/systemd/systemd")
UNITS = Path("/lib/systemd/system")
ROOT = Path(__file__).parents[2]
BOOT_TIMEOUT_S = 30.0
TARGETS = (
    *("basic", "sysinit", "sockets", "shutdown", "umount", "final", "multi-user", "rescue", "emergency"),
    *("network-online", "remote-fs", "nss-user-lookup"),
)
TAKEN = ("dbus.socket", "dbus.service", "systemd-journald.service", "systemd-journald.socket")

pytestmark = [
    pytest.mark.skipif(os.environ.get("SYSTEMD_TEST") != "1", reason="asked for with SYSTEMD_TEST=1 only"),
    pytest.mark.timeout(300),
]

BOOT = """\
set -e
mount --make-rprivate /
n=0
for path in {visible}; do n=$((n + 1)); mkdir -p {work}/bind$n; mount --bind $path {work}/bind$n; done
mount -t tmpfs -o mode=755 tmpfs /root
n=0
for path in {visible}; do n=$((n + 1)); mkdir -p $path; mount --move {work}/bind$n $path; done
mkdir -p {work}/etc; mount -t tmpfs tmpfs {work}/etc; mkdir {work}/etc/upper {work}/etc/work
mount -t overlay overlay -o lowerdir=/etc,upperdir={work}/etc/upper,workdir={work}/etc/work /etc
rm -rf /etc/systemd/system; mkdir -p /etc/systemd/system
for path in /var/lib /var/log /run; do mount -t tmpfs -o mode=755 tmpfs $path; done
mkdir -p /run/systemd/system /run/lock /run/dbus /var/lib/dbus
umount -R /sys/fs/cgroup
if [ {version} = 2 ]; then mount -t cgroup2 cgroup /sys/fs/cgroup; else
mount -t tmpfs tmpfs /sys/fs/cgroup; mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd; fi
export container=docker SYSTEMD_UNIT_PATH={work}/units:/etc/systemd/system
exec {systemd} --system --unit=default.target --log-target=console --show-status=no
"""


def comes_true(condition: Callable[[], bool]) -> bool:
    """Look until something is so, since systemd tells nobody; return whether it came in time."""
    pause = threading.Event()
    for _ in range(int(BOOT_TIMEOUT_S / 0.1)):
        if condition():
            return True
        pause.wait(0.1)
    return False


def removed(group: Path) -> bool:
    """Remove a control group, unless a process in it has not ended yet."""
    try:
        group.rmdir()
    except OSError:
        return False
    return True


class Machine:
    """A systemd that believes to be the first process of a machine."""

    def __init__(self, work: Path) -> None:
        for name in ("unshare", "nsenter", "dbus-daemon", "journalctl"):
            if shutil.which(name) is None or not SYSTEMD.exists() or os.geteuid() != 0:
                pytest.skip(f"needs root, systemd and {name}")
        self.work = work
        work.chmod(0o755)
        (work / "units").mkdir()
        for name in TARGETS:
            (work / f"units/{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        wants = "Wants=dbus.socket systemd-journald.service systemd-journald.socket\n"
        (work / "units/default.target").write_text(f"[Unit]\nDefaultDependencies=no\n{wants}")
        for name in TAKEN:
            shutil.copy(UNITS / name, work / "units" / name)
        self.version = 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1
        base = Path("/sys/fs/cgroup" if self.version == 2 else "/sys/fs/cgroup/systemd")
        self.group = base / f"remanager-test-{os.getpid()}"
        self.process: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """Start it and wait until its first target is reached."""
        self.group.mkdir()
        # The home of root is closed to other users, but Python may be in it.
        visible = {Path(p) for p in (sys.base_prefix, sys.prefix, ROOT) if Path(p).is_relative_to("/root")}
        script = self.work / "boot.sh"
        script.write_text(
            BOOT.format(
                work=self.work,
                systemd=SYSTEMD,
                version=self.version,
                visible=" ".join(str(p) for p in sorted(visible)) or '""',
            )
        )
        enter = f"echo $$ > {self.group}/cgroup.procs; exec"
        names = "unshare --mount --pid --fork --uts --ipc --cgroup --mount-proc --kill-child"
        with (self.work / "log").open("wb") as log:
            process = self.process = subprocess.Popen(
                ["sh", "-c", f"{enter} {names} sh {script}"], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

        def is_up() -> bool:
            state = self.run("systemctl", "is-active", "systemd-journald.service", check=False)
            assert state == "active" or process.poll() is None, (self.work / "log").read_text()
            return state == "active"

        assert comes_true(is_up), (self.work / "log").read_text()

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in it and return what it printed."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children()
        if not children:
            return ""
        enter = ["nsenter", "-t", str(children[0].pid), "-m", "-p", "-C", "-u", "-i", "--wd=/"]
        done = subprocess.run([*enter, *command], capture_output=True, text=True, check=False, timeout=120)
        assert not (check and done.returncode), f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def close(self) -> None:
        """End every process in it."""
        if self.process is not None:
            self.process.kill()  # and with it all in its process name space
            self.process.wait(10)
        groups = [self.group, *sorted(p for p in self.group.rglob("*") if p.is_dir())]
        for group in reversed(groups):
            comes_true(partial(removed, group))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    # The directories of pytest are closed to other users.
    work = Path("/tmp") / f"remanager-systemd-{os.getpid()}"
    work.mkdir()
    made = Machine(work)
    try:
        made.boot()
        yield made
    finally:
        made.close()
        shutil.rmtree(work)


class Service:
    """The installed service, with an open environment."""

    def __init__(self, machine: Machine, client: RawClient) -> None:
        self.machine = machine
        self.client = client
        info = f"tcp://127.0.0.1:{free_port()}"
        addresses = ("--zmq-control-addr", self.client.address, "--zmq-info-addr", info)
        self.command("service", "install", "--now", "--startup-dir", str(PROFILE_DIR), *addresses)
        self.command("environment", "open", "--wait", "--address", self.client.address)

    def command(self, *words: str) -> str:
        """Run a command of ours."""
        return self.machine.run(sys.executable, "-m", "remanager", *words)

    def systemctl(self, *words: str) -> str:
        """Run systemctl for the unit."""
        return self.machine.run("systemctl", *words, "remanager")

    def show(self, name: str) -> str:
        """Return a property of the unit."""
        return self.systemctl("show", f"--property={name}", "--value")

    def worker(self) -> int:
        """Return the process of the worker, as it sees itself; waits for a daemon that is being started."""
        (worker,) = self.client.call("stats", timeout=60.0, sections=["workers"])["workers"]
        pid: int = worker["pid"]
        return pid

    def running(self) -> tuple[str, str, int]:
        """Return what runs, and in which process."""
        status = self.client.call("status", timeout=60.0)
        return status["manager_state"], status["running_item_uid"], self.worker()

    def wait_main(self, old: str) -> None:
        """Wait until the main process is another one."""
        assert comes_true(lambda: self.show("MainPID") not in (old, "0")), f"the main process is {old} still"


@pytest.fixture
def service(machine: Machine) -> Iterator[Service]:
    client = RawClient(f"tcp://127.0.0.1:{free_port()}")
    try:
        yield Service(machine, client)
    finally:
        client.close()


def test_status_and_removal(service: Service) -> None:
    found = json.loads(service.command("service", "status", "--json"))
    assert (found["systemd"]["ActiveState"], found["systemd"]["UnitFileState"]) == ("active", "enabled")
    assert found["systemd"]["StatusText"] == "idle, environment open"
    service.command("service", "uninstall", "--now")
    assert service.show("LoadState") == "not-found"


def test_a_plan_goes_on(service: Service) -> None:
    item = plan("count", ["diode"], num=6000, delay=0.1)
    uid = service.client.ok("queue_item_add", item=item, **USER)["item"]["item_uid"]
    service.client.ok("queue_start")
    before = service.running()
    assert before[:2] == ("executing_queue", uid)

    main = service.show("MainPID")
    service.systemctl("restart")
    assert service.running() == before
    assert service.show("MainPID") != main

    main = service.show("MainPID")
    service.systemctl("reload")
    assert service.running() == before
    assert service.show("MainPID") == main
    assert service.show("StatusText").startswith("running plan count")

    service.systemctl("kill", "--signal=KILL", "--kill-whom=main")
    service.wait_main(main)
    assert service.running() == before
    assert service.show("NRestarts") == "1"

    service.systemctl("stop")
    assert service.machine.run("cat", f"/proc/{before[2]}/comm", check=False) == ""
    assert service.show("Result") == "success"
    service.systemctl("start")
    (entry,) = service.client.ok("history_get")["items"]
    assert "The manager was stopped" in entry["result"]["msg"]

    entries = service.machine.run("journalctl", "--unit=remanager", "--output=json").splitlines()
    logged = [(e["PRIORITY"], e["MESSAGE"]) for e in map(json.loads, entries)]
    assert ("6", "remanager.daemon.manager: The manager leaves; workers go on") in logged
    assert ("5", "remanager supervisor: the manager is replaced") in logged


def test_a_supervisor_that_hangs(service: Service) -> None:
    worker, unit = service.worker(), "/etc/systemd/system/remanager.service"
    drop_in = f"mkdir {unit}.d; printf '[Service]\\nWatchdogSec=4\\n' > {unit}.d/watchdog.conf"
    service.machine.run("sh", "-c", drop_in)
    service.machine.run("systemctl", "daemon-reload")
    service.systemctl("restart")
    main = service.show("MainPID")
    service.machine.run("kill", "-STOP", main)
    service.wait_main(main)
    assert service.worker() == worker
