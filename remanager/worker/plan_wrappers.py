"""What is wrapped around the plans of the queue."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    OnThrown = Callable[[BaseException], None]


def contained(plan: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Run a plan; let it fail where it wants to end the process, which would end the RunEngine's thread."""
    try:
        return (yield from plan)
    except (SystemExit, KeyboardInterrupt) as exc:
        raise RuntimeError(f"The plan raised {type(exc).__name__}({exc})") from exc


def labelled(
    plan: Generator[Any, Any, Any],
    persistent: Mapping[str, object],
    metadata: Mapping[str, object],
    on_thrown: OnThrown,
) -> Generator[Any, Any, Any]:
    """Run a plan; its runs get metadata that neither they nor the RunEngine's persistent metadata have.

    ``on_thrown`` is told what the RunEngine throws into the plan.
    """
    result, error = None, None
    while True:
        try:
            message = plan.send(result) if error is None else plan.throw(error)
        except StopIteration as end:
            return end.value
        if message.command == "open_run":
            missing = {key: value for key, value in metadata.items() if key not in persistent}
            message = message._replace(kwargs={**missing, **message.kwargs})
        try:
            result, error = (yield message), None
        except GeneratorExit:
            plan.close()
            raise
        except BaseException as exc:  # noqa: BLE001 - handed on to the plan
            error = exc
            on_thrown(exc)


@contextlib.contextmanager
def preprocessing(engine: Any, metadata: Mapping[str, object], on_thrown: OnThrown) -> Iterator[None]:
    """Apply :func:`labelled` and :func:`contained`, outermost, to the plans started in the context."""

    def preprocess(plan: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        return labelled(contained(plan), getattr(engine, "md", {}), metadata, on_thrown)

    preprocessors = getattr(engine, "preprocessors", [])
    preprocessors.append(preprocess)
    try:
        yield
    finally:
        preprocessors.remove(preprocess)
