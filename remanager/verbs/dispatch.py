"""From a decoded request to its reply: shape, parameters, lock, handler, and what a refusal looks like."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from types import CoroutineType
from typing import Any

from pydantic import ValidationError

from remanager.manager.manager import Manager
from remanager.manager.parameter_faults import parameter_faults
from remanager.model.errors import (
    Conflict,
    InvalidParams,
    InvalidRequest,
    NotPermitted,
    RemanagerError,
    StorageError,
    UnknownMethod,
)
from remanager.model.principal import LOCAL, Principal, asked_by
from remanager.verbs import load
from remanager.verbs.registry import REGISTRY, WITHOUT_PARAMS, Refusal, Verb
from remanager.verbs.repeats import NAME as REQUEST_ID
from remanager.verbs.repeats import Repeats
from remanager.wire.codec import CachedReply, Encoding, Reply

logger = logging.getLogger(__name__)

ON_FULL_DISK = frozenset(
    {
        *("re_pause", "re_resume", "re_stop", "re_abort", "re_halt", "kernel_interrupt"),
        *("environment_destroy", "manager_stop"),
    }
)
"""Changing methods that a full disk does not refuse: they need the store for no more than a note."""

_REQUEST_KEYS = ("method", "params")
# The usual types come first, and coroutines before them: the question to the abstract one is slow.
_REPLIES = (CachedReply, dict, Mapping)


class Dispatcher:
    """Answers requests by the registry of methods.

    Parameters
    ----------
    manager : Manager
        What the handlers work on.
    """

    def __init__(self, manager: Manager) -> None:
        load()
        self._manager = manager
        self._repeats = Repeats()

    def __call__(
        self, request: object, _encoding: Encoding, principal: Principal = LOCAL
    ) -> Reply | Awaitable[Reply]:
        """Answer a request: at once where the method allows it, else by an awaitable."""
        try:
            verb, params = self._parse(request)
        except RemanagerError as exc:
            return {"success": False, "msg": str(exc), "code": exc.code}
        try:
            params = _authorise(verb, params, principal)
        except RemanagerError as exc:
            return self._refusal(verb, params, exc)
        token = asked_by.set(principal.name)
        try:
            answer = self._route(verb, params)
            if isinstance(answer, CoroutineType) or not isinstance(answer, _REPLIES):
                return _as_asked_by(principal.name, answer)
            return answer
        finally:
            asked_by.reset(token)

    def _route(self, verb: Verb, params: Mapping[str, Any]) -> Reply | Awaitable[Reply]:
        if verb.mutating and REQUEST_ID in params:
            return self._answer_once(verb, params)
        return self._answer_when_started(verb, params)

    def _answer_once(self, verb: Verb, params: Mapping[str, Any]) -> Reply | Awaitable[Reply]:
        """Answer a request, or a repetition of it like the first time."""
        rest = {name: value for name, value in params.items() if name != REQUEST_ID}
        try:
            return self._repeats.answer(
                params[REQUEST_ID],
                f"{verb.name} for {asked_by.get()}",
                rest,
                lambda: self._answer_when_started(verb, rest),
            )
        except RemanagerError as exc:
            return self._refusal(verb, rest, exc)

    def _answer_when_started(self, verb: Verb, params: Mapping[str, Any]) -> Reply | Awaitable[Reply]:
        if not (verb.lenient or self._manager.started.is_set()):
            return self._answer_later(verb, params)
        return self._answer(verb, params)

    async def _answer_later(self, verb: Verb, params: Mapping[str, Any]) -> Reply:
        """Answer when the manager has started."""
        await self._manager.started.wait()
        answer = self._answer(verb, params)
        return answer if isinstance(answer, _REPLIES) else await answer

    def _answer(self, verb: Verb, params: Mapping[str, Any]) -> Reply | Awaitable[Reply]:
        try:
            arguments = self._validate(verb, params)
            result = verb.handler(self._manager, arguments)
        except Exception as exc:  # noqa: BLE001 - becomes the reply; unexpected ones are logged there
            return self._refusal(verb, params, exc)
        if isinstance(result, CoroutineType) or not isinstance(result, _REPLIES):
            return self._finish(verb, params, result)
        return self._completed(verb, result)

    async def _finish(self, verb: Verb, params: Mapping[str, Any], result: Awaitable[Reply]) -> Reply:
        try:
            return self._completed(verb, await result)
        except Exception as exc:  # noqa: BLE001 - becomes the reply; unexpected ones are logged there
            return self._refusal(verb, params, exc)

    def _completed(self, verb: Verb, reply: Reply) -> Reply:
        """Fill a reply in, and record the request where nothing else does."""
        reply = _complete(reply)
        if verb.journal and not isinstance(reply, CachedReply) and reply["success"]:
            batch = self._manager.ledger.batch()
            batch.event("request", method=verb.name)
            self._manager.ledger.commit(batch)
        return reply

    @staticmethod
    def _parse(request: object) -> tuple[Verb, Mapping[str, Any]]:
        if not isinstance(request, dict):
            raise InvalidRequest(f"Incorrect request type: {type(request)}. Dictionary is expected")
        if "method" not in request:
            raise InvalidRequest(f"Invalid request format: method is not specified: {request!r:.2000}")
        extra = [k for k in request if k not in _REQUEST_KEYS]
        if extra:
            raise InvalidRequest(f"Request contains unexpected keys {extra}. Allowed keys: {_REQUEST_KEYS}")
        method = request["method"]
        verb = REGISTRY.get(method) if isinstance(method, str) else None
        if verb is None:
            raise UnknownMethod(f"Unknown method {method!r:.200}")
        params = request.get("params")
        if params is None:
            params = {}
        if not isinstance(params, dict):
            raise InvalidParams(f"Incorrect type of 'params': {type(params)}. Dictionary is expected")
        return verb, params

    def _validate(self, verb: Verb, params: Mapping[str, Any]) -> object:
        if verb.lenient:
            return None
        names = verb.names
        unknown = [n for n in params if n not in names]
        if unknown:
            listed = repr(unknown[0]) if len(unknown) == 1 else str(unknown)
            known = [*names, *((REQUEST_ID,) if verb.mutating else ())]
            raise InvalidParams(
                f"API request contains unsupported parameters: {listed}. Supported parameters: {known}"
            )
        if verb.mutating and self._manager.ledger.no_room and verb.name not in ON_FULL_DISK:
            raise StorageError(self._manager.ledger.no_room)
        if verb.lock is not None:
            self._manager.lock.check(params.get("lock_key"), verb.lock.value)
        if not params and verb.params in WITHOUT_PARAMS:
            return WITHOUT_PARAMS[verb.params]
        try:
            return verb.params.model_validate(params)
        except ValidationError as exc:
            raise InvalidParams(parameter_faults(exc, verb.params, params, "parameter")) from exc

    def _refusal(self, verb: Verb, params: Mapping[str, Any], exc: Exception) -> Reply:
        fields: Mapping[str, object] = {}
        if isinstance(exc, Refusal):
            fields, exc = exc.fields, exc.error
        if isinstance(exc, RemanagerError):
            code, text = exc.code, str(exc)
        else:
            logger.error("The method %r failed", verb.name, exc_info=exc)
            code, text = RemanagerError.code, f"Internal error: {type(exc).__name__}: {exc}"
        return {
            "success": False,
            "msg": text if verb.plain and isinstance(exc, Conflict) else verb.prefix + text,
            "code": code,
            **verb.fillers(params, self._manager),
            **fields,
        }


async def _as_asked_by(name: str, answer: Awaitable[Reply]) -> Reply:
    """Wait for an answer, and have what happens meanwhile recorded as asked for by a principal."""
    token = asked_by.set(name)
    try:
        return await answer
    finally:
        asked_by.reset(token)


def _authorise(verb: Verb, params: Mapping[str, Any], principal: Principal) -> Mapping[str, Any]:
    """Check that a principal may use a method and is who the parameters claim; return the parameters.

    Raises
    ------
    NotPermitted
        It may not, or is not.
    """
    if not principal.may(verb.permission):
        raise NotPermitted(
            f"{principal.name!r} has the role {principal.role.value!r}, which does not permit {verb.name!r}: "
            f"it needs the permission {verb.permission.value!r}"
        )
    if principal.user_group is not None and "user_group" in verb.names:
        claimed = params.get("user_group", principal.user_group)
        if claimed != principal.user_group:
            raise NotPermitted(
                f"{principal.name!r} belongs to the user group {principal.user_group!r}, "
                f"not to {claimed!r:.200}"
            )
        params = {**params, "user_group": principal.user_group}
    if principal.user is not None and "user" in verb.names:
        params = {**params, "user": principal.user}
    return params


def _complete(reply: Reply) -> Reply:
    if isinstance(reply, CachedReply) or "success" in reply:
        return reply
    return {"success": True, "msg": "", **reply}
