"""RunEngine metadata as clients may see it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class MetadataError(Exception):
    """The metadata cannot be given; the text is part of the protocol."""


def filter_metadata(metadata: Mapping[str, Any], permitted: Iterable[str]) -> dict[str, Any]:
    """Keep the permitted keys of nested metadata.

    Parameters
    ----------
    metadata : mapping
        Metadata; values may be dictionaries.
    permitted : iterable of str
        Paths such as ``/key`` or ``/key/inner``, with or without a slash at the end; ``/`` permits
        everything. A path to a dictionary permits all of it.

    Returns
    -------
    dict
        Copy of the outer levels; empty dictionaries are left out unless they are permitted themselves.
    """
    paths = list(permitted)
    if "/" in paths:
        return dict(metadata)
    return _filter(metadata, {path.rstrip("/") for path in paths}, "")


def _filter(metadata: Mapping[str, Any], paths: set[str], prefix: str) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in metadata.items():
        path = f"{prefix}/{key}"
        if path in paths:
            kept[key] = value
        elif isinstance(value, dict) and (inner := _filter(value, paths, path)):
            kept[key] = inner
    return kept


def metadata_text(engine: Any, permitted: Iterable[str], encoding: str) -> str:
    """Return the RunEngine's metadata as JSON text.

    Parameters
    ----------
    engine : RunEngine or None
        The RunEngine of the environment.
    permitted : iterable of str
        See :func:`filter_metadata`.
    encoding : str
        ``json`` or ``msgpack``: the encoding in which the metadata must be representable.

    Raises
    ------
    MetadataError
        There is no RunEngine, no metadata, or it cannot be represented.
    """
    if engine is None:
        raise MetadataError("Run Engine does not exist in worker environment")
    if not hasattr(engine, "md"):
        raise MetadataError("Run Engine does not have a metadata attribute")
    try:
        metadata = filter_metadata(dict(engine.md), permitted)
    except Exception as exc:
        raise MetadataError(f"Failed to convert Run Engine metadata to dictionary: {exc}") from exc
    try:
        if encoding == "msgpack":
            msgpack.packb(metadata)
        return json.dumps(metadata)
    except (TypeError, ValueError, OverflowError, RecursionError, RuntimeError) as exc:
        raise MetadataError(f"Failed to serialize RE metadata with {encoding.upper()}: {exc}") from exc
