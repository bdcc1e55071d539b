"""Requests that are sent twice: ``request_id`` makes the second one get the answer of the first."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from remanager.model.errors import Conflict, InvalidParams
from remanager.wire.codec import CachedReply, Reply

NAME = "request_id"
MAX_ID_CHARS = 200


@dataclass(slots=True)
class _Request:
    """A request that was answered or is being answered."""

    fingerprint: bytes
    size: int
    time: float
    reply: asyncio.Future[Reply]


class Repeats:
    """Remembers the answers to requests with a ``request_id``.

    They live in memory: a restarted manager takes a repeated request for a new one.

    Parameters
    ----------
    clock : callable
        Monotonic clock, s.
    max_age_s : float
        How long an answer is kept, s.
    max_requests : int
        How many answers are kept; the oldest ones go first.
    max_bytes : int
        Size of the requests whose answers are kept, which says how large the answers are.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        max_age_s: float = 300.0,
        max_requests: int = 10_000,
        max_bytes: int = 64 << 20,
    ) -> None:
        self._clock = clock
        self._max_age_s = max_age_s
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._requests: OrderedDict[str, _Request] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._requests)

    def answer(
        self,
        request_id: object,
        method: str,
        params: Mapping[str, Any],
        make: Callable[[], Reply | Awaitable[Reply]],
    ) -> Reply | Awaitable[Reply]:
        """Return the answer to the first request with this id, whatever it was; make it if this is the first.

        Parameters
        ----------
        request_id : str
            The client's name of the request.
        method : str
            What is asked for.
        params : mapping
            Its parameters, without the id.
        make : callable
            Carries the request out.

        Raises
        ------
        InvalidParams
            The id is no proper text.
        Conflict
            The id was given to another request.
        """
        if not isinstance(request_id, str) or not 0 < len(request_id) <= MAX_ID_CHARS:
            raise InvalidParams(
                f"'{NAME}' must be a string of 1 to {MAX_ID_CHARS} characters: {request_id!r:.300}"
            )
        fingerprint, size = _fingerprint(method, params)
        self._forget_old()
        known = self._requests.get(request_id)
        if known is None:
            future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
            request = _Request(fingerprint, size, self._clock(), future)
            self._requests[request_id] = request
            self._bytes += size
            return self._carry_out(request_id, request, make)
        if known.fingerprint != fingerprint:
            raise Conflict(
                f"The {NAME} {request_id!r} was given to another request. "
                "Give each request an id of its own, and the same one only to its repetitions."
            )
        return known.reply.result() if known.reply.done() else asyncio.shield(known.reply)

    def _carry_out(
        self, request_id: str, request: _Request, make: Callable[[], Reply | Awaitable[Reply]]
    ) -> Reply | Awaitable[Reply]:
        try:
            answer = make()
        except BaseException:
            self._forget(request_id)
            raise
        if isinstance(answer, (Mapping, CachedReply)):
            request.reply.set_result(answer)
            return answer
        return self._follow(request_id, request, answer)

    async def _follow(self, request_id: str, request: _Request, answer: Awaitable[Reply]) -> Reply:
        try:
            reply = await answer
        except BaseException:  # cancelled: whoever waits for the answer is, too
            request.reply.cancel()
            self._forget(request_id)
            raise
        request.reply.set_result(reply)
        return reply

    def _forget(self, request_id: str) -> None:
        request = self._requests.pop(request_id, None)
        if request is not None:
            self._bytes -= request.size

    def _forget_old(self) -> None:
        """Drop what is too old or too much, but nothing that is still being carried out."""
        due = self._clock() - self._max_age_s
        while self._requests:
            request_id, oldest = next(iter(self._requests.items()))
            too_much = len(self._requests) >= self._max_requests or self._bytes > self._max_bytes
            if not oldest.reply.done() or not (too_much or oldest.time <= due):
                return
            self._forget(request_id)


def _fingerprint(method: str, params: Mapping[str, Any]) -> tuple[bytes, int]:
    """Return what tells requests apart, and the size of the request in bytes."""
    try:
        text = json.dumps([method, params], sort_keys=True, default=repr)
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidParams(f"A request like this cannot have a '{NAME}': {exc}") from exc
    data = text.encode()
    return hashlib.sha256(data).digest(), len(data)
