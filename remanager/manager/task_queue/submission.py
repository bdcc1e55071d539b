"""From the item and options of a request to a task: validated, completed, with its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from sys import intern
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from remanager.manager.parameter_faults import parameter_faults
from remanager.manager.rows import column
from remanager.manager.task_queue.functions import Function, Functions
from remanager.model.errors import InvalidItem, InvalidParams, TooLarge
from remanager.model.json_text import dumps
from remanager.model.principal import asked_by
from remanager.model.task_spec import (
    DEFAULT_OPTIONS,
    DEFAULT_PRIORITY,
    YEAR_S,
    DependencyPolicy,
    DuplicatePolicy,
    RetryPolicy,
    RetryStrategy,
    TaskOptions,
    TaskSpec,
    TtlOrigin,
    Where,
)
from remanager.wire.values import with_tags

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_TAGS = 32
MAX_PREREQUISITES = 1000

Name = Annotated[str, Field(max_length=256)]
Uid = Annotated[str, Field(min_length=1, max_length=128)]
Seconds = Annotated[float, Field(ge=0, le=YEAR_S, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=YEAR_S, allow_inf_nan=False)]
TagKey = Annotated[str, Field(min_length=1, max_length=64)]
IoKind = Literal["disk_read", "disk_write", "net_rx", "net_tx"]
TagValue = Annotated[str, Field(max_length=256)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class RetryModel(_Model):
    """How the delay before another attempt grows."""

    strategy: Annotated[RetryStrategy, Field(strict=False)] = Field(
        RetryStrategy.EXPONENTIAL,
        description="the delay is always the first one (``constant``), grows by it (``linear``) or by "
        "``factor`` (``exponential``); with ``exponential_jitter`` it is a random part of that",
    )
    initial_s: Seconds = Field(1.0, description="first delay (s)")
    max_s: Seconds = Field(300.0, description="longest delay (s)")
    factor: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)] = Field(
        2.0, description="growth of an exponential delay"
    )


# Models are made when they are needed first: that takes time, and the manager shall start fast.
@cache
def _default_retry() -> RetryModel:
    return RetryModel.model_validate({})


class OptionsModel(_Model):
    """Options of ``task_submit``."""

    priority: Annotated[int, Field(ge=0, le=255)] = Field(
        DEFAULT_PRIORITY, description="0 (first) to 255; the same: in the order of submission"
    )
    group: Name = Field("", description="group, for limits and switches")
    domain: Name = Field("", description="domain, for limits and switches")
    label: Annotated[str, Field(max_length=1000)] = Field("", description="what people shall read")
    key: Name = Field("", description="identity of the work: with it, duplicates are recognised")
    on_duplicate: Annotated[DuplicatePolicy, Field(strict=False)] = Field(
        DuplicatePolicy.SKIP,
        description="if an active task of the same function has the key: ``skip`` (that one stays as it is), "
        "``merge`` (it gets the higher priority, or runs once more if it runs), ``supersede`` (this one "
        "takes its place) or ``reject``",
    )
    tags: Annotated[dict[TagKey, TagValue], Field(max_length=MAX_TAGS)] = Field(
        default_factory=dict, description=f"``{{KEY: text}}`` by which it is found again, at most {MAX_TAGS}"
    )
    job_uid: Uid | None = Field(None, description="tasks with the same one are a job")
    parent_uid: Uid | None = Field(None, description="it is a child of this task, which ends after it")
    fail_fast: bool = Field(
        True, description="as a parent it fails with its first failed child, and the others are cancelled"
    )
    depends_on: Annotated[list[Uid], Field(max_length=MAX_PREREQUISITES)] = Field(
        default_factory=list,
        description="UIDs of tasks and plans that must succeed before; in a batch also numbers: places in "
        "``items``",
    )
    on_dependency_failure: Annotated[DependencyPolicy, Field(strict=False)] = Field(
        DependencyPolicy.CANCEL,
        description="if a prerequisite does not succeed: ``cancel`` (it ends as ``dependency_failed``) or "
        "``ignore`` (it runs all the same)",
    )
    run_after: Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)] | None = Field(
        None, description="not before this time (epoch seconds)"
    )
    delay_s: Seconds | None = Field(
        None, description="in place of it: not before so long after the submission (s)"
    )
    ttl_s: Positive | None = Field(
        None, description="how long it may wait for its start (s); then it ends as ``expired``"
    )
    ttl_from: Annotated[TtlOrigin, Field(strict=False)] = Field(
        TtlOrigin.SUBMISSION,
        description="``ttl_s`` counts from its ``submission``, or from its ``first_attempt`` on: then it is "
        "the retries that must begin in time",
    )
    timeout_s: Positive | None = Field(None, description="how long one execution may take (s)")
    kill_after_s: Seconds | None = Field(
        None,
        description="how long a cancelled execution may go on before its worker is killed (s), in the pool; "
        f"default: {DEFAULT_OPTIONS.kill_after_s:g}",
    )
    max_retries: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        None, description="attempts after the first one if it fails; default: none"
    )
    retry: RetryModel | None = Field(None, description="how the delay before another attempt grows")
    expected_io: dict[IoKind, Annotated[int, Field(ge=0, le=2**62)]] = Field(
        default_factory=dict,
        description="expected bytes: ``{disk_read, disk_write, net_rx, net_tx}``, or some of them",
    )
    resource_lock: Name | None = Field(
        None, description="name of something that it needs for itself: one task with it runs at a time"
    )
    where: Annotated[Where, Field(strict=False)] = Field(
        Where.POOL,
        description="``pool``: a function of the task modules; ``environment``: one of the environment's "
        "namespace, where it is looked up when it starts",
    )

    def own(self) -> TaskOptions:
        """Return what only matters to the task's own life."""
        if not self.model_fields_set & _OWN:
            return DEFAULT_OPTIONS
        retry = self.retry or _default_retry()
        return TaskOptions(
            on_duplicate=self.on_duplicate,
            on_dependency_failure=self.on_dependency_failure,
            fail_fast=self.fail_fast,
            ttl_s=self.ttl_s,
            ttl_from=self.ttl_from,
            timeout_s=self.timeout_s,
            kill_after_s=DEFAULT_OPTIONS.kill_after_s if self.kill_after_s is None else self.kill_after_s,
            retry=RetryPolicy(
                max_retries=self.max_retries or 0,
                strategy=retry.strategy,
                initial_s=retry.initial_s,
                max_s=retry.max_s,
                factor=retry.factor,
            ),
            expected_io={str(kind): size for kind, size in self.expected_io.items()},
            resource_lock=self.resource_lock,
            where=self.where,
        )


_OWN = {f.name for f in fields(TaskOptions)} | {"max_retries"}


@cache
def _default_options() -> OptionsModel:
    return OptionsModel.model_validate({})


class _Chosen(NamedTuple):
    """Options of a task with the defaults of its function, in the form that tasks have them."""

    function: Function | None
    model: OptionsModel
    own: TaskOptions
    domain: str
    group: str
    tags: tuple[tuple[str, str], ...]
    depends_on: tuple[str, ...]

    @classmethod
    def of(cls, function: Function | None, model: OptionsModel) -> _Chosen:
        """Return the chosen options of a model."""
        tags, needs = tuple(sorted(model.tags.items())), tuple(dict.fromkeys(model.depends_on))
        return cls(function, model, model.own(), intern(model.domain), intern(model.group), tags, needs)


class SpecMaker:
    """Makes tasks of items and options.

    Parameters
    ----------
    functions : Functions
        What the task modules offer.
    """

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        # What was made of no options, and of the last ones, by function.
        self._without: dict[str, _Chosen] = {}
        self._last_options: Mapping[str, Any] = {}
        self._last_text = ""
        self._with: dict[str, _Chosen] = {}

    def make(
        self,
        item: Mapping[str, Any],
        options: Mapping[str, Any],
        now: float,
        *,
        job_uid: str | None = None,
        parent_uid: str | None = None,
        schedule_uid: str | None = None,
        principal: str | None = None,
    ) -> TaskSpec:
        """Return the task of an item.

        Parameters
        ----------
        item : mapping
            A checked item with ``item_uid``, ``user`` and ``user_group``.
        options : mapping
            As ``task_submit`` takes them. It must not be changed afterwards: what is made of it is used again
            if the same come again, as they do in a batch.
        now : float
            Epoch seconds.
        principal : str or None
            Who asked for it; None: whose request is being worked on.

        Raises
        ------
        InvalidItem, InvalidParams, TooLarge
            The item, its user or an option is not valid.
        """
        name, user, user_group = intern(str(item["name"])), item["user"], item["user_group"]
        _check_texts({"name": name, "user": user, "user_group": user_group})
        chosen = self._choose(name, item, options)
        model = chosen.model
        run_after = model.run_after
        if model.delay_s is not None:
            run_after = max(run_after or 0.0, now + model.delay_s)
        return TaskSpec(
            task_uid=item["item_uid"],
            name=name,
            user=user,
            user_group=user_group,
            body=_body(item, tagged=chosen.own.where is Where.POOL),
            time_created=now,
            domain=chosen.domain,
            group=chosen.group,
            label=model.label,
            key=model.key,
            priority=model.priority,
            tags=chosen.tags,
            job_uid=model.job_uid or job_uid,
            parent_uid=parent_uid or model.parent_uid,
            schedule_uid=schedule_uid,
            depends_on=chosen.depends_on,
            run_after=run_after,
            principal=principal or asked_by.get(),
            options=chosen.own,
        )

    def _choose(self, name: str, item: Mapping[str, Any], options: Mapping[str, Any]) -> _Chosen:
        """Check the arguments of an item; return its options with the defaults of the function."""
        if options is not self._last_options and options:
            text = _text(options)  # not the values: 1 and True are equal, but only one may be valid
            if text != self._last_text:
                self._last_text, self._with = text, {}
            self._last_options = options
        known = self._with if options else self._without
        args, kwargs = item.get("args", ()), item.get("kwargs", {})
        found = known.get(name)
        if found is not None and found.function is self._functions.get(name):
            found.function.check(args, kwargs)
            return found
        given = _options(options)
        if given.run_after is not None and given.delay_s is not None:
            raise InvalidParams("Give 'run_after' or 'delay_s', not both")
        if given.where is Where.ENVIRONMENT:
            return _Chosen.of(None, given)
        function = self._functions.get(name)
        function.check(args, kwargs)
        model = _options({**function.options, **options}) if function.options else given
        known[name] = _Chosen.of(function, model)
        return known[name]


def _check_texts(texts: Mapping[str, str]) -> None:
    """Refuse what the store cannot take; the model of the options refuses such texts by itself."""
    for what, text in texts.items():
        if not text.isascii() and column(text) != text:
            raise InvalidParams(
                f"The '{what}' of a task must be a text that UTF-8 can express: {text!r:.200}"
            )


def _text(options: Mapping[str, Any]) -> str:
    try:
        return repr(options)
    except RecursionError as exc:
        raise InvalidParams("The options of the task are nested too deeply") from exc


def _options(options: Mapping[str, Any]) -> OptionsModel:
    if not options:
        return _default_options()
    try:
        return OptionsModel.model_validate(options)
    except ValidationError as exc:
        faults = [parameter_faults(exc, OptionsModel, options, "option")]
        unknown = {e["loc"] for e in exc.errors() if e["type"] == "extra_forbidden" and len(e["loc"]) == 1}
        if ("recurring",) in unknown:
            faults.append("tasks that come again and again are those of a schedule: 'schedule_add'")
        if unknown - {("recurring",)}:
            faults.append("arguments of the function belong in 'args' and 'kwargs' of the item")
        raise InvalidParams(f"The options of the task are not valid: {'; '.join(faults)}") from exc


def _written(item: Mapping[str, Any], *, tagged: bool) -> str:
    try:
        return dumps(item)
    except TypeError:
        if not tagged:
            raise
        return dumps(with_tags(item))


def _body(item: Mapping[str, Any], *, tagged: bool) -> str:
    """Return an item as JSON; ``tagged``: with forms for what came in msgpack and JSON does not have."""
    try:
        text = _written(item, tagged=tagged)
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidItem(f"The item cannot be written as JSON: {exc}") from exc
    if len(text) > MAX_BODY_BYTES:
        raise TooLarge(f"The item is larger than {MAX_BODY_BYTES} bytes")
    return text
