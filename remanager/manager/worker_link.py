"""Commands to the environment worker and the replies that belong to them."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Protocol

from remanager.manager.ledger import Batch
from remanager.manager.ports import NotConnected, WorkerPort
from remanager.manager.silence import REMEDY, Silence
from remanager.manager.state import State
from remanager.model.errors import Conflict, EnvironmentClosed, RequestTimeout
from remanager.model.link import Ack, Command, Message, Reply
from remanager.store.writes import worker_acked

logger = logging.getLogger(__name__)

COMMAND_TIMEOUT_S = 10.0
"""How long a worker's control thread may take to accept or refuse a command."""

MakeCommand = Callable[[int], Command]


class Reporter(Protocol):
    """A worker whose events are handled once, and acknowledged when they are on disk."""

    uid: str
    handled_seq: int
    acked_seq: int


def record_report(batch: Batch, worker: Reporter, seq: int, acknowledge: Callable[[Ack], None]) -> None:
    """Note that an event of a worker is handled by a transaction, and acknowledge it after the commit."""
    worker.handled_seq = seq
    batch.write(worker_acked(worker.uid, seq))

    def recorded() -> None:
        worker.acked_seq = seq
        acknowledge(Ack(seq))

    batch.after(recorded)


class WorkerLink:
    """Sends commands to the present worker and matches its replies.

    Parameters
    ----------
    state : State
        Names the present worker.
    port : WorkerPort
        The socket.
    silence : Silence
        Knows whether the worker gives signs of life.
    """

    def __init__(self, state: State, port: WorkerPort, silence: Silence) -> None:
        self._state = state
        self._silence = silence
        self._port = port
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._posted: dict[int, tuple[Callable[[], None] | None, Callable[[str], None]]] = {}

    async def command(self, make: MakeCommand) -> Reply:
        """Send a command and wait until the worker accepts it.

        Raises
        ------
        EnvironmentClosed
            There is no worker, or it went away.
        Conflict
            The worker refuses.
        RequestTimeout
            No answer in time; nothing was sent to a worker that had been silent before.
        """
        self._silence.check()
        number = next(self._ids)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._send(make(number))
            # Not wait_for, which resumes a turn of the loop later: an event could overtake the reply.
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                reply = await future
        except NotConnected as exc:
            raise EnvironmentClosed("The environment worker is not connected.") from exc
        except TimeoutError as exc:
            raise RequestTimeout(
                f"The environment worker did not answer within {COMMAND_TIMEOUT_S:g} s; {REMEDY}."
            ) from exc
        finally:
            self._waiting.pop(number, None)
        if not reply.success:
            raise Conflict(reply.msg)
        return reply

    def check(self) -> None:
        """Make sure that the worker can be expected to answer.

        Raises
        ------
        RequestTimeout
            It has been silent for some time.
        """
        self._silence.check()

    def post(
        self,
        make: MakeCommand,
        on_refused: Callable[[str], None],
        on_accepted: Callable[[], None] | None = None,
    ) -> None:
        """Send a command without waiting; a worker without connection is told when it says hello again."""
        number = next(self._ids)
        self._posted[number] = on_accepted, on_refused
        try:
            self._send(make(number))
        except NotConnected:
            del self._posted[number]
            logger.info("The worker is not connected; the command follows when it is back")

    def tell(self, message: Message) -> None:
        """Send a message that needs no answer; dropped if the worker is not connected."""
        try:
            self._send(message)
        except NotConnected:
            logger.debug("Not connected: %s is dropped", type(message).__name__)

    def on_reply(self, reply: Reply) -> None:
        """Match a reply with its command; late ones are dropped."""
        future = self._waiting.get(reply.id)
        if future is not None and not future.done():
            future.set_result(reply)
        accepted, refused = self._posted.pop(reply.id, (None, None))
        if refused is not None and not reply.success:
            refused(reply.msg)
        elif accepted is not None:
            accepted()

    def on_lost(self) -> None:
        """End every wait: the worker is gone."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(EnvironmentClosed("The environment worker has ended."))
        self._posted.clear()

    def _send(self, message: Message) -> None:
        worker = self._state.worker
        if worker is None:
            raise NotConnected
        self._port.send(worker.uid, message)
