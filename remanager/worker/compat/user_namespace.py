"""Access of start-up code to the namespace of the worker."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


class UserNamespace:
    """Holds the namespace of the worker, as ``get_ipython().user_ns`` does in IPython."""

    def __init__(self) -> None:
        self._user_ns: dict[str, Any] = {}
        self._use_ipython = True

    @property
    def user_ns(self) -> dict[str, Any]:
        """The namespace."""
        return self._user_ns

    @property
    def use_ipython(self) -> bool:
        """Whether the namespace of a running IPython takes precedence."""
        return self._use_ipython

    def set_user_namespace(self, *, user_ns: dict[str, Any], use_ipython: bool = False) -> None:
        """Set the namespace.

        Raises
        ------
        TypeError
            ``user_ns`` is not a dictionary.
        """
        if not isinstance(user_ns, dict):
            raise TypeError(f"Parameter 'user_ns' must be of type 'dict': type(ns) is '{type(user_ns)}'")
        self._user_ns = user_ns
        self._use_ipython = bool(use_ipython)


global_user_namespace = UserNamespace()


def set_user_ns(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function so that it gets the namespace of the worker.

    Parameters
    ----------
    function : callable
        Function or generator function with a keyword parameter ``user_ns`` and, optionally, ``ipython``,
        which is None where IPython is not in use. Callers do not see these parameters.
    """
    signature = inspect.signature(function)
    wants_ipython = "ipython" in signature.parameters

    def extra() -> dict[str, Any]:
        ipython = _running_ipython() if global_user_namespace.use_ipython else None
        user_ns = global_user_namespace.user_ns if ipython is None else ipython.user_ns
        return {"user_ns": user_ns, **({"ipython": ipython} if wants_ipython else {})}

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return (yield from function(*args, **{**kwargs, **extra()}))

    else:

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **{**kwargs, **extra()})

    visible = [p for p in signature.parameters.values() if p.name not in ("user_ns", "ipython")]
    wrapper.__signature__ = signature.replace(parameters=visible)  # type: ignore[attr-defined]
    return wrapper


def _running_ipython() -> Any:
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()
