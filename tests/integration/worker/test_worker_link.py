"""A worker's link in this process, and a manager on real sockets."""

from __future__ import annotations

import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
from worker_harness import FakeManager

from remanager.model.frames import frame
from remanager.model.link import (
    Ack,
    Heartbeat,
    Hello,
    Message,
    Progress,
    Reply,
    StateChanged,
    TaskFinished,
    Welcome,
    WorkerState,
    pack,
)
from remanager.worker import link as link_module
from remanager.worker.link import Link
from remanager.worker.outbox import Outbox

WAIT_S = 10.0
LARGE = b"x" * (8 << 20)
MakeLink = Callable[..., Link]


def finished(name: str, payload: bytes = b"") -> TaskFinished:
    return TaskFinished(0, 1.0, name, True, "", "", "json", payload, 1.0, 2.0)


class Manager(FakeManager):
    """A manager that only reads when it is waited for something."""

    def ends(self) -> list[str]:
        return [m.task_uid for m in self.of(TaskFinished)]

    def until_ends(self, *names: str) -> None:
        self.until(lambda: self.ends() == list(names))

    def send_bytes(self, data: bytes) -> None:
        assert self._worker is not None
        self._worker.connection.sendall(data)

    def restart(self) -> None:
        self.unbind()
        self.bind()


@pytest.fixture
def manager() -> Iterator[Manager]:
    directory = Path(tempfile.mkdtemp(prefix="rm"))
    manager = Manager(directory)
    yield manager
    manager.close()
    shutil.rmtree(directory)


@pytest.fixture
def make_link(manager: Manager) -> Iterator[MakeLink]:
    links: list[Link] = []

    def make(**callbacks: Any) -> Link:
        usual: dict[str, Any] = {
            "on_message": lambda _message: None,
            "hello": lambda last: Hello("w", 1, last, [], WorkerState()),
            "on_tick": lambda _age: None,
            "on_fault": lambda: None,
        }
        links.append(Link(manager.link_address, "w", **(usual | callbacks)))
        links[-1].start()
        manager.expect(Hello)
        return links[-1]

    yield make
    for link in links:
        link.close(0)


@contextmanager
def held(manager: Manager, make_link: MakeLink) -> Iterator[Link]:
    """A link whose thread stands still."""
    stuck, go_on = threading.Event(), threading.Event()

    def take(message: Message) -> None:
        if isinstance(message, Reply):
            stuck.set()
            go_on.wait(WAIT_S)

    link = make_link(on_message=take)
    manager.send(Reply(1, True))
    assert stuck.wait(WAIT_S)
    yield link
    go_on.set()


@contextmanager
def publishing_handler(link: Link) -> Iterator[None]:
    """The handler of a signal publishes."""
    former = signal.signal(signal.SIGUSR1, lambda *_: link.publish([finished("of the handler")]))
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, former)


def test_greeting_and_messages(manager: Manager, make_link: MakeLink) -> None:
    came: list[Message] = []
    arrived = threading.Event()

    def take(message: Message) -> None:
        came.append(message)
        if isinstance(message, Reply):
            arrived.set()

    link = make_link(on_message=take)
    link.publish([finished("a"), finished("b")], WorkerState(environment_state="idle"))
    link.send(Reply(1, True))
    manager.until(lambda: manager.of(Reply))
    kinds = [type(m) for m in manager.messages if not isinstance(m, Heartbeat)]
    assert kinds == [Hello, TaskFinished, TaskFinished, StateChanged, Reply]
    manager.send(Reply(2, True))
    assert arrived.wait(WAIT_S)
    assert [type(m) for m in came] == [Welcome, Reply]
    assert link.close(WAIT_S)


def test_large_messages_go_both_ways(manager: Manager, make_link: MakeLink) -> None:
    came: list[Message] = []
    arrived = threading.Event()

    def take(message: Message) -> None:
        came.append(message)
        if message == Reply(2, True):
            arrived.set()

    link = make_link(on_message=take)
    link.publish([finished("large", LARGE), finished("small")])
    manager.until_ends("large", "small")
    assert manager.of(TaskFinished)[0].payload == LARGE
    sending = threading.Thread(
        target=lambda: (manager.send(Reply(1, True, LARGE.decode())), manager.send(Reply(2, True)))
    )
    sending.start()
    assert arrived.wait(WAIT_S)
    sending.join()
    assert came[-2:] == [Reply(1, True, LARGE.decode()), Reply(2, True)]


def test_messages_in_pieces_and_what_is_none(manager: Manager, make_link: MakeLink) -> None:
    came: list[Message] = []
    arrived = threading.Event()

    def take(message: Message) -> None:
        came.append(message)
        if message == Reply(2, True):
            arrived.set()

    make_link(on_message=take)
    data = frame(pack(Reply(1, True))) + frame(b"nonsense") + frame(b"") + frame(pack(Reply(2, True)))
    for n in range(len(data)):
        manager.send_bytes(data[n : n + 1])
    assert arrived.wait(WAIT_S)
    assert came[-2:] == [Reply(1, True), Reply(2, True)]


def test_events_are_sent_by_the_thread_that_has_them(manager: Manager, make_link: MakeLink) -> None:
    with held(manager, make_link) as link:
        link.publish([finished("a")])
        manager.until_ends("a")


def test_a_manager_that_does_not_read_holds_nobody_up(manager: Manager, make_link: MakeLink) -> None:
    link = make_link()
    names = [str(n) for n in range(300)]
    for name in names:
        link.publish([finished(name, b"x" * 10_000)])
    manager.until_ends(*names)
    assert link.close(WAIT_S)
    assert manager.of(Hello)[1:] == []


def test_what_was_not_acknowledged_is_told_to_the_next_manager(manager: Manager, make_link: MakeLink) -> None:
    link = make_link()
    manager.acknowledge = False
    link.publish([finished("a"), finished("b", LARGE)])
    manager.until(lambda: manager.ends() == ["a"])  # of the second one only a part was read
    manager.restart()
    link.publish([finished("c")])
    manager.until_ends("a", "a", "b", "c")
    assert [m.seq for m in manager.of(TaskFinished)] == [1, 1, 2, 3]
    assert manager.of(Hello)[-1].last_seq in (2, 3)
    manager.acknowledge = True
    manager.send(Ack(3))
    assert link.close(WAIT_S)


def test_states_that_follow_each_other_closely_become_one(manager: Manager, make_link: MakeLink) -> None:
    with held(manager, make_link) as link:
        for n in range(5):
            link.publish([], WorkerState(background_tasks=n))
    manager.until(lambda: manager.of(StateChanged))
    link.publish([finished("a")])
    manager.until_ends("a")
    assert [m.state.background_tasks for m in manager.of(StateChanged)] == [4]


def test_nonsense_of_the_manager_ends_the_connection(manager: Manager, make_link: MakeLink) -> None:
    make_link()
    manager.send_bytes(b"\xff" * 8)
    manager.until(lambda: len(manager.of(Hello)) == 2)


def test_sending_that_is_broken_off(
    manager: Manager, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler of a signal raises while a frame is being sent: nobody knows how much of it has left."""
    link = make_link(heartbeat_s=3600.0)  # whose thread sends nothing meanwhile

    def interrupted(*_contents: bytes) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(link._stream, "send", interrupted)
        with pytest.raises(KeyboardInterrupt):
            link.publish([finished("a")])
    link.publish([finished("b")])
    manager.until_ends("a", "b")
    assert len(manager.of(Hello)) == 2


def test_handlers_of_signals_may_publish(
    manager: Manager, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = make_link(heartbeat_s=3600.0)  # whose thread sends nothing meanwhile
    send = link._stream.send

    def interrupted(*contents: bytes) -> bool:
        monkeypatch.undo()
        signal.raise_signal(signal.SIGUSR1)
        return send(*contents)

    monkeypatch.setattr(link._stream, "send", interrupted)
    with publishing_handler(link):
        link.publish([finished("a")])
    manager.until_ends("a", "of the handler")
    assert len(manager.of(Hello)) == 1


@pytest.mark.parametrize("moment", [Outbox.add, Link._enqueue, Link._send_queue])
@pytest.mark.parametrize("event", ["call", "return"])
def test_handlers_publish_at_any_moment(
    manager: Manager, make_link: MakeLink, moment: Callable[..., Any], event: str
) -> None:
    """What a handler publishes follows what it has interrupted, under the next number."""
    link = make_link()

    def at(frame: FrameType, what: str, _arg: object) -> None:
        if what == event and frame.f_code is moment.__code__:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGUSR1)

    with publishing_handler(link):
        sys.setprofile(at)
        try:
            link.publish([finished("a")])
        finally:
            sys.setprofile(None)
    link.publish([finished("b")])
    manager.until_ends("a", "of the handler", "b")
    assert [m.seq for m in manager.of(TaskFinished)] == [1, 2, 3]


@pytest.mark.parametrize("moment", [Outbox.add, Link._enqueue, Condition.__enter__, Condition.__exit__])
def test_a_handler_that_raises_loses_nothing(
    manager: Manager, make_link: MakeLink, moment: Callable[..., Any]
) -> None:
    """It leaves no lock behind, and what had its number already is told."""
    link = make_link()

    def at(frame: FrameType, what: str, _arg: object) -> None:
        if what == "return" and frame.f_code is moment.__code__:
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(at)
    with suppress(KeyboardInterrupt):
        link.publish([finished("a")])
    sys.setprofile(None)
    other = threading.Thread(target=link.publish, args=([finished("b")],), daemon=True)
    other.start()
    other.join(WAIT_S)
    assert not other.is_alive()
    manager.until_ends("a", "b")


def test_what_gathers_is_published_when_it_is_time(manager: Manager, make_link: MakeLink) -> None:
    """Whoever wakes the link may bring forward when its thread looks again."""
    rounds: list[str] = []
    looked = threading.Event()

    def gather() -> float | None:
        rounds.append(threading.current_thread().name)
        if rounds[-1] != "remanager-link":
            return 0.01
        if "MainThread" in rounds:
            looked.set()
        return None

    link = make_link(on_round=gather, heartbeat_s=3600.0)
    link.wake()
    assert looked.wait(WAIT_S)


def test_progress_is_sent_at_once_and_the_newest_later(
    manager: Manager, make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = make_link(heartbeat_s=3600.0)
    now = time.monotonic()
    monkeypatch.setattr(link_module, "time", SimpleNamespace(monotonic=lambda: now, time=time.time))
    link.progress(Progress("p", 1, 9))
    manager.until(lambda: manager.of(Progress))
    for n in range(2, 9):
        link.progress(Progress("p", n, 9))
    now += link_module.PROGRESS_INTERVAL_S
    manager.until(lambda: manager.of(Progress)[-1].done == 8)
    assert [p.done for p in manager.of(Progress)] == [1, 8]


def test_progress_is_told_after_the_begin_of_what_it_belongs_to(
    manager: Manager, make_link: MakeLink
) -> None:
    begun: list[StateChanged] = []

    def gather() -> None:
        while begun:
            link.send(begun.pop())

    def take(message: Message) -> None:
        if isinstance(message, Reply):  # begun and on its way before the link's thread looks for either
            begun.append(StateChanged(WorkerState(running_item_uid="p")))
            link.progress(Progress("p", 1, 9))

    link = make_link(heartbeat_s=3600.0, on_message=take, on_round=gather)
    manager.send(Reply(1, True))
    manager.until(lambda: manager.of(Progress) and manager.of(StateChanged))
    kinds = [type(m) for m in manager.messages if isinstance(m, (Progress, StateChanged))]
    assert kinds == [StateChanged, Progress]


def test_progress_without_a_connection_is_sent_when_there_is_one(
    manager: Manager, make_link: MakeLink
) -> None:
    ticks, link = threading.Condition(), None

    def look(_age: float) -> None:
        with ticks:
            ticks.notify_all()

    link = make_link(heartbeat_s=3600.0, on_tick=look)
    with ticks:
        manager.unbind()
        assert ticks.wait_for(lambda: not link._connected, WAIT_S)  # it has noticed
    link.progress(Progress("p", 1, 9))
    link.progress(Progress("p", 2, 9))
    link.publish([finished("before it is sent")])
    manager.bind()
    manager.until(lambda: manager.of(Progress))
    assert [p.done for p in manager.of(Progress)] == [2]


def test_a_manager_that_takes_no_more_connections_is_asked_again(manager: Manager) -> None:
    path = Path(manager.link_address).parent / "full"
    link = Link(
        str(path),
        "w",
        on_message=lambda _message: None,
        hello=lambda last: Hello("w", 1, last, [], WorkerState()),
        on_tick=lambda _age: None,
        on_fault=lambda: None,
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.settimeout(WAIT_S)
        listener.bind(str(path))
        listener.listen(0)
        first = socket.socket(socket.AF_UNIX)
        first.connect(str(path))  # the only place is taken
        link.start()
        listener.accept()[0].close()
        first.close()
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(WAIT_S)
            assert connection.recv(5) == frame(b"w")
    link.close(0)
