"""Modules under the name ``bluesky_queueserver`` for start-up code.

The package itself is used where it is installed; it only learns the namespace of the worker. Elsewhere the
names that start-up code imports from it are served from here.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from remanager.plans.annotations import parameter_annotation_decorator
from remanager.plans.registry import clear_registered_items, register_device, register_plan
from remanager.worker.compat import environment
from remanager.worker.compat.happi import load_devices_from_happi
from remanager.worker.compat.user_namespace import UserNamespace, global_user_namespace, set_user_ns

_PACKAGE = "bluesky_queueserver"
_PROFILE_TOOLS = f"{_PACKAGE}.manager.profile_tools"

_QUESTIONS = {
    name: getattr(environment, name)
    for name in (
        "clear_ipython_mode",
        "clear_re_worker_active",
        "is_ipython_mode",
        "is_re_worker_active",
        "set_ipython_mode",
        "set_re_worker_active",
    )
}
_REGISTRATION = {"register_device": register_device, "register_plan": register_plan}
_DECORATOR = {"parameter_annotation_decorator": parameter_annotation_decorator}
_PACKAGES: dict[str, dict[str, Any]] = {
    _PACKAGE: {**_QUESTIONS, **_REGISTRATION, **_DECORATOR},
    f"{_PACKAGE}.manager": {},
}
_MODULES: dict[str, dict[str, Any]] = {
    f"{_PACKAGE}.manager.annotation_decorator": _DECORATOR,
    f"{_PACKAGE}.manager.profile_ops": {**_REGISTRATION, "clear_registered_items": clear_registered_items},
    _PROFILE_TOOLS: {
        **_QUESTIONS,
        "UserNamespace": UserNamespace,
        "global_user_namespace": global_user_namespace,
        "load_devices_from_happi": load_devices_from_happi,
        "set_user_ns": set_user_ns,
    },
}


class _Substitutes(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Serves the substitutes; it is asked last, so that an installed package wins."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _PACKAGES and fullname not in _MODULES:
            return None
        return ModuleSpec(fullname, self, is_package=fullname in _PACKAGES)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(_PACKAGES.get(module.__name__) or _MODULES.get(module.__name__, {}))


class _ProfileToolsHook(importlib.abc.MetaPathFinder):
    """Gives the namespace to ``profile_tools`` of the installed package as soon as it is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _PROFILE_TOOLS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _ProfileToolsLoader(spec.loader)
        return spec


class _ProfileToolsLoader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _share_namespace(module)


_substitutes = _Substitutes()
_hook = _ProfileToolsHook()


def install() -> None:
    """Make the modules importable. May be called repeatedly."""
    if _substitutes not in sys.meta_path:
        sys.meta_path.append(_substitutes)
    if _hook not in sys.meta_path:
        sys.meta_path.insert(0, _hook)


def uninstall() -> None:
    """Undo :func:`install`; modules that were imported stay."""
    for finder in (_substitutes, _hook):
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)


def set_user_namespace(ns: dict[str, Any], *, use_ipython: bool = False) -> None:
    """Let start-up code reach the namespace by ``set_user_ns`` and ``get_ipython().user_ns``."""
    global_user_namespace.set_user_namespace(user_ns=ns, use_ipython=use_ipython)
    if module := sys.modules.get(_PROFILE_TOOLS):
        _share_namespace(module)


def _share_namespace(module: ModuleType) -> None:
    if module.global_user_namespace is not global_user_namespace:
        module.global_user_namespace.set_user_namespace(
            user_ns=global_user_namespace.user_ns, use_ipython=global_user_namespace.use_ipython
        )
