"""Pages, counts and groups of selected tasks, against a plain reference."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from store_samples import do, end, new, update

from remanager.model.errors import InvalidParams
from remanager.model.selector import ALL, Location, PriorityRange, Selector, TagCondition, TimeRange
from remanager.model.states import STATE_CLASS, StateClass, TaskState, is_terminal
from remanager.store import NewTask, QueueEntryRow, Store, page_plan, writes
from remanager.store import task_writes as make
from remanager.store.task_pages import Order, Page
from remanager.store.task_rows import TaskRecord
from remanager.verbs.selectors import SelectorModel, selector_of
from remanager.verbs.streams import EventParams, event_filter

NOW = 100.0
NAMES = ["copy", "check", "x%_'\"", "é", "copy\0", "copy\0%0", "%0"]
ENDS = ["completed", "failed", "cancelled", "expired", "dead_letter"]


def fill(store: Store) -> None:
    """Put tasks of all kinds into the store, in all states."""
    rows = []
    for n in range(1, 81):
        tags = [("run", str(n % 5))] if n % 3 else []
        tags += [("r%n", "x")] if n % 7 == 0 else []
        tags += [("ru\0n", ("1\0", "1\0%", "")[n % 3])] if n % 8 == 0 else []
        rows.append(
            new(
                f"t{n}",
                n,
                name=NAMES[n * n % 4 if n % 9 else 4 + n // 9 % 3],
                user="ann" if n % 4 else "bob",
                user_group="root" if n % 6 else "primary",
                domain=["", "d1", "d2"][n % 3],
                task_group=["", "g", "g\0"][n % 2 if n % 9 else 2],
                key=f"k{n % 9}" if n % 2 else "k\0" if n % 8 == 0 else "",
                priority=[0, 128, 128, 200][n % 4],
                job_uid=f"j{n // 10}" if n % 3 else None,
                parent_uid="t1" if n % 11 == 0 else None,
                schedule_uid="s" if n % 13 == 0 else None,
                time_created=float(n // 2),
                run_after=NOW + 1 if n % 5 == 0 else None,
                tags=tuple(tags),
            )
        )
    do(store, *make.tasks_insert(rows))
    states = {5: "blocked", 6: "paused", 7: "running", 8: "running", 9: "waiting_children"}
    changes: dict[str, Any] = {"run_after": NOW + 1, "time_start": None}
    for n in range(1, 51):
        reasons = '["operator", "group"]' if n % 10 == 6 else None
        state = states.get(n % 10, "pending")
        row = rows[n - 1]
        changes = {"priority": row["priority"], "run_after": row["run_after"], "worker_uid": f"w{n % 2}"}
        changes |= {"time_start": float(n), "pause_reasons": reasons}
        do(store, make.tasks_update([update(f"t{n}", state, **changes)]))
    ended = [
        end(f"t{n}", ENDS[n % 5], time_stop=50.0 + n * 7 % 20, time_start=float(n)) for n in range(20, 60)
    ]
    do(store, make.tasks_end(ended))
    plans = [QueueEntryRow(f"p{n}", n, "plan", "copy", "ann", "primary", "{}") for n in range(12)]
    do(store, writes.queue_insert(plans, 45.0))
    for n in range(6):
        finish = writes.task_finish(
            f"p{n}", state=TaskState.COMPLETED, time_stop=55.0 + n, in_history=n % 2 == 0
        )
        do(store, writes.task_start(f"p{n}", time=46.0, worker_uid="w0"), finish)
    pause = writes.task_pause("p6", time=47.0, reasons=["re_pause"], log="")
    do(store, writes.task_start("p6", time=46.0, worker_uid="w0"), pause)
    script = NewTask(
        task_uid="f", item_type="script", name="copy", user="bob", user_group="g", body="", time_created=3.0
    )
    do(store, writes.task_insert(script))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store.open(tmp_path_factory.mktemp("selection") / "state")
    fill(store)
    yield store
    store.close()


def everything(store: Store) -> list[tuple[TaskRecord, dict[str, str]]]:
    ids = [row[0] for row in store.reads.connection.execute("SELECT id FROM task ORDER BY id")]
    tags = store.reads.tasks.tags(ids)
    return [(record, tags.get(record.id, {})) for record in store.reads.tasks.records(ids)]


RECORDS: list[tuple[TaskRecord, dict[str, str]]] = []


def filled_records(store: Store) -> list[tuple[TaskRecord, dict[str, str]]]:
    if not RECORDS:
        RECORDS.extend(everything(store))
    return RECORDS


def inside(value: float | None, times: TimeRange) -> bool:
    if times == TimeRange():
        return True
    after = times.after is None or (value is not None and value > times.after)
    return after and (times.before is None or (value is not None and value <= times.before))


def matches(s: Selector, record: TaskRecord, tags: dict[str, str]) -> bool:
    """Tell whether a task is selected: the rules of the selector, one after the other."""
    fields = {
        "task_uid": record.task_uid,
        "job_uid": record.job_uid,
        "parent_uid": record.parent_uid,
        "schedule_uid": record.schedule_uid,
        "key": record.key,
        "name": record.name,
        "domain": record.domain,
        "group": record.task_group,
        "item_type": record.item_type,
        "user": record.user,
        "user_group": record.user_group,
        "worker_uid": record.worker_uid,
        "state": record.state,
        "state_class": STATE_CLASS[record.state],
    }
    later = record.run_after is not None and record.run_after > NOW
    queued = record.state in {TaskState.PENDING, TaskState.BLOCKED} or (
        record.state is TaskState.PAUSED and record.item_type != "plan"
    )
    ready = record.state is TaskState.PENDING and not later
    low, high = s.priority.min, s.priority.max
    reasons = set(json.loads(record.pause_reasons or "[]")) if not is_terminal(record.state) else set()
    return (
        all(getattr(s, name) is None or value in getattr(s, name) for name, value in fields.items())
        and (s.pause_reason is None or bool(reasons & set(s.pause_reason)))
        and (s.ready is None or (ready if s.ready else queued and not ready))
        and all(t.key in tags and (t.values is None or tags[t.key] in t.values) for t in s.tags)
        and (s.tag_key_prefix is None or any(key.startswith(s.tag_key_prefix) for key in tags))
        and (low is None or record.priority >= low)
        and (high is None or record.priority <= high)
        and inside(record.time_created, s.created)
        and inside(record.time_start, s.started)
        and inside(record.time_stop, s.finished)
        and (s.location is Location.ANY or (s.location is Location.HISTORY) == is_terminal(record.state))
    )


def ordered(found: list[TaskRecord], order: Order) -> list[int]:
    """Return the ids of tasks in an order."""
    place = {r.id: r.task_number if r.task_number is not None else r.id - 2**40 for r in found}
    if order is Order.CREATED:
        return sorted((r.id for r in found), reverse=True)
    if order is Order.FINISHED:
        ended = [(r.time_stop, r.id) for r in found if r.time_stop is not None]
        return [i for _, i in sorted(ended, reverse=True)]
    if order is Order.DISPATCH:
        found = [r for r in found if r.time_stop is None]
    return [r.id for r in sorted(found, key=lambda r: (r.priority, place[r.id]))]


def some(*values: Any) -> st.SearchStrategy[tuple[Any, ...] | None]:
    chosen = st.lists(st.sampled_from(values), max_size=3, unique=True).map(tuple)
    return st.one_of(st.none(), st.none(), chosen)


def texts(*values: str) -> st.SearchStrategy[Any]:
    """One text of a request, or a list of them."""
    return st.sampled_from(values) | st.lists(st.sampled_from(values), max_size=2)


def times(*values: float) -> st.SearchStrategy[TimeRange]:
    bound = st.one_of(st.none(), st.sampled_from(values))
    return st.one_of(st.just(TimeRange()), st.just(TimeRange()), st.builds(TimeRange, bound, bound))


def most_expensive(costs: dict[str, float]) -> str:
    return max(costs, key=costs.__getitem__)


MANY = tuple(f"t{n}" for n in range(1, 81, 2))
SELECTORS = st.builds(
    Selector,
    task_uid=st.one_of(some("t1", "t7", "p3", "nobody", "\ud800"), st.none(), st.just(MANY)),
    job_uid=some("j1", "j3", "j6", ""),
    parent_uid=some("t1"),
    schedule_uid=some("s"),
    key=some("k1", "k3", "k5", "k", "k\0", ""),
    name=some(*NAMES, "%", "c%", "\ud800"),
    domain=some("", "d1", "d2"),
    group=some("", "g", "g\0"),
    item_type=some("plan", "function", "script"),
    user=some("ann", "bob", "Ann"),
    user_group=some("root", "primary"),
    worker_uid=some("w0", "w1"),
    state=some(*TaskState),
    state_class=some(*StateClass),
    pause_reason=some("operator", "domain"),
    ready=st.sampled_from([None, None, None, True, False]),
    tags=st.lists(
        st.builds(
            TagCondition,
            st.sampled_from(["run", "r%n", "ru\0n", "ru", "r", "\ud800"]),
            some("1", "2", "x", "1\0", "1\0%"),
        ),
        max_size=1,
    ).map(tuple),
    tag_key_prefix=st.sampled_from([None, None, "r", "r%", "run", "ru\0", "\0", "_", "", "\ud800"]),
    priority=st.builds(
        PriorityRange, st.sampled_from([None, None, 1, 128]), st.sampled_from([None, 128, 10])
    ),
    created=times(10.0, 20.0, 45.0),
    started=times(10.0, 46.0),
    finished=times(55.0, 60.0),
    location=st.sampled_from([*Location, Location.ANY, Location.ANY]),
)


def thinned(selector: Selector, keep: set[str]) -> Selector:
    """Return a selector with some of the conditions: most tasks fail one of twenty."""
    return replace(ALL, **{name: getattr(selector, name) for name in keep})


THIN = st.builds(
    thinned, SELECTORS, st.sets(st.sampled_from(list(Selector.__dataclass_fields__)), min_size=1, max_size=3)
)


@settings(deadline=None, max_examples=150)
@given(selector=THIN, order=st.sampled_from(Order), limit=st.integers(1, 40), sort=st.booleans())
def test_pages_show_what_is_selected_in_order(
    filled: Store, selector: Selector, order: Order, limit: int, sort: bool
) -> None:
    expected = ordered([r for r, tags in filled_records(filled) if matches(selector, r, tags)], order)
    pages = filled.reads.pages
    found: list[int] = []
    cursor: str | None = None
    with pytest.MonkeyPatch.context() as patch:
        if not sort:  # the other ways must be right, too
            patch.setattr(page_plan, "cheapest", most_expensive)
        while True:
            page = pages.page(selector, now=NOW, order=order, limit=limit, cursor=cursor)
            assert page.total == len(expected)
            assert len(page.ids) <= limit
            found += page.ids
            if (cursor := page.next_cursor) is None:
                break
        skipped = pages.page(selector, now=NOW, order=order, limit=limit, offset=3)
    assert found == expected
    assert skipped.ids == expected[3 : 3 + limit]


@settings(deadline=None, max_examples=150)
@given(selector=THIN, sort=st.booleans())
def test_groups_add_up_to_the_total(filled: Store, selector: Selector, sort: bool) -> None:
    chosen = [(r, tags) for r, tags in filled_records(filled) if matches(selector, r, tags)]
    pages = filled.reads.pages
    values = {
        "state": lambda r, tags: r.state.value,
        "class": lambda r, tags: STATE_CLASS[r.state].value,
        "task_type": lambda r, tags: r.name,
        "group": lambda r, tags: r.task_group,
        "priority": lambda r, tags: r.priority,
        "job_uid": lambda r, tags: r.job_uid,
        "worker_uid": lambda r, tags: r.worker_uid,
        "tag:run": lambda r, tags: tags.get("run"),
        "tag:ru\0n": lambda r, tags: tags.get("ru\0n"),
        "tag:\ud800": lambda r, tags: None,
    }
    with pytest.MonkeyPatch.context() as patch:
        if not sort:
            patch.setattr(page_plan, "cheapest", most_expensive)
        assert pages.count(selector, now=NOW) == len(chosen)
        for by, value in values.items():
            groups = pages.group(selector, by, now=NOW)
            assert dict(groups.counts) == Counter(value(r, tags) for r, tags in chosen), by
            assert (groups.total, groups.others) == (len(chosen), 0)
        keys = Counter(key for _, tags in chosen for key in tags if key.startswith("r"))
        assert dict(pages.tag_keys("r", selector, now=NOW)) == keys
        assert set(pages.tag_keys("ru\0", selector, now=NOW)) <= {("ru\0n", keys["ru\0n"])}
        uids = [(r.task_uid, r.state) for r, _ in chosen]
        assert pages.uids(selector, now=NOW, limit=1000) == uids
        assert pages.uids(selector, now=NOW, limit=2) == uids[:2]


SAID = st.fixed_dictionaries(
    {},
    optional={
        "task_uid": texts("t1", "t7", "nobody"),
        "job_uid": texts("j1", "j3"),
        "key": texts("k1", "k3", ""),
        "name": texts(*NAMES),
        "domain": texts("", "d1"),
        "group": texts("", "g"),
        "user": texts("ann", "Ann"),
        "state": texts("pending", "failed"),
        "tags": st.dictionaries(st.sampled_from(["run", "r%n"]), st.none() | texts("1", "x"), min_size=1),
    },
)


@settings(deadline=None, max_examples=150)
@given(said=SAID)
def test_events_are_selected_as_tasks_are(filled: Store, said: dict[str, Any]) -> None:
    """The event of each task's end is told to those whose selector speaks of the task."""
    selector = selector_of(SelectorModel.model_validate(said))
    wanted = event_filter(EventParams.model_validate({"selector": said}))
    tasks = [(r, tags) for r, tags in filled_records(filled) if r.item_type == "function"]
    told = [r.task_uid for r, tags in tasks if wanted.fits(r.task_uid, event_data(r, tags))]
    found = filled.reads.pages.uids(replace(selector, item_type=("function",)), now=NOW, limit=1000)
    assert told == [uid for uid, _ in found]


def event_data(record: TaskRecord, tags: dict[str, str]) -> dict[str, Any]:
    """Return what an event tells of its task: what is empty is left out."""
    about = {"domain": record.domain, "group": record.task_group, "key": record.key, "tags": tags}
    about |= {"job_uid": record.job_uid, "task_type": record.name, "user": record.user}
    return {"to": record.state, **{name: value for name, value in about.items() if value}}


@pytest.mark.parametrize(
    ("selector", "number"),
    [
        (Selector(group=("g\0", "zz")), 8),
        (Selector(group=("g\0x", "zz")), 0),
        (Selector(key=("k\0", "zz")), 10),
        (Selector(key=("k1\0", "zz")), 0),
        (Selector(name=("copy\0%0", "%\0")), 3),
        (Selector(task_uid=("t1\0x", "t2")), 1),
        (Selector(tags=(TagCondition("ru\0n", ("1\0%", "zz")),)), 3),
        (Selector(tag_key_prefix="ru\0"), 10),
        (Selector(tag_key_prefix="run\0"), 0),
    ],
)
def test_texts_with_nul_are_taken_whole(filled: Store, selector: Selector, number: int) -> None:
    assert filled.reads.pages.count(selector, now=NOW) == number
    assert len(filled.reads.pages.uids(selector, now=NOW, limit=1000)) == number


def test_a_paused_plan_is_not_queued(filled: Store) -> None:
    assert filled.reads.pages.uids(Selector(state=(TaskState.PAUSED,), item_type=("plan",)), now=NOW, limit=9)
    selector = Selector(ready=False)
    depths = filled.reads.figures.depths(selector, ["name"], now=NOW)
    assert all(depth.is_queued for depth in depths)
    assert sum(depth.number for depth in depths) == filled.reads.pages.count(selector, now=NOW)


def test_states_of_uids_with_nul(filled: Store) -> None:
    assert set(filled.reads.task_states(["t1\0x", "t2"])) == {"t2"}


def test_groups_beyond_the_limit_are_counted(filled: Store) -> None:
    groups = filled.reads.pages.group(ALL, "job_uid", now=NOW, limit=2)
    assert len(groups.counts) == 2
    assert groups.others > 0
    assert sum(n for _, n in groups.counts) + groups.others == groups.total == 93
    with pytest.raises(InvalidParams, match="grouped by 'msg'"):
        filled.reads.pages.group(ALL, "msg", now=NOW)


@pytest.mark.parametrize("cursor", ["", "x", "é", "W10=", "WzFd", "bnVsbA==", "WyJjcmVhdGVkIiwgMSwgTmFOXQ=="])
def test_a_foreign_cursor_is_refused(filled: Store, cursor: str) -> None:
    with pytest.raises(InvalidParams, match="is not one of a page"):
        filled.reads.pages.page(ALL, now=NOW, cursor=cursor)


def test_a_cursor_belongs_to_its_order(filled: Store) -> None:
    page = filled.reads.pages.page(ALL, now=NOW, limit=1)
    with pytest.raises(InvalidParams, match="in the order 'finished'"):
        filled.reads.pages.page(ALL, now=NOW, order=Order.FINISHED, cursor=page.next_cursor)


@settings(deadline=None, max_examples=25)
@given(
    order=st.sampled_from([Order.CREATED, Order.FINISHED, Order.DISPATCH]),
    steps=st.lists(
        st.tuples(st.integers(0, 3), st.sets(st.integers(0, 29)), st.sets(st.integers(0, 29))), max_size=8
    ),
    limit=st.integers(1, 9),
    by_name=st.booleans(),
)
@example(Order.FINISHED, [(1, set(), set()), (0, set(), {0, 1, 2, 29})], 1, False)
@example(Order.DISPATCH, [(0, set(), set()), (3, set(), {28, 29})], 1, False)
def test_pages_are_stable_while_tasks_come_and_go(
    tmp_path_factory: pytest.TempPathFactory,
    order: Order,
    steps: list[tuple[int, set[int], set[int]]],
    limit: int,
    by_name: bool,
) -> None:
    """What is there from the first page to the last is shown once, in order; nothing is shown twice."""
    store = Store.open(tmp_path_factory.mktemp("stable") / "state")
    selector = Selector(name=("copy",)) if by_name else ALL
    try:
        do(store, *make.tasks_insert([new(f"a{n}", n + 1) for n in range(30)]))
        if order is Order.FINISHED:
            do(store, make.tasks_end([end(f"a{n}", time_stop=float(n % 7)) for n in range(30)]))
        connection = store.reads.connection
        # The number of a task that is gone may be given again: what counts is the UID.
        first = _uids(store, store.reads.pages.page(selector, now=NOW, order=order, limit=1000))
        shown: list[str] = []
        cursor = None
        number = 30
        while True:
            page = store.reads.pages.page(selector, now=NOW, order=order, limit=limit, cursor=cursor)
            shown += _uids(store, page)
            if (cursor := page.next_cursor) is None:
                break
            if steps:
                fresh, ends, gone = steps.pop()
                rows = [new(f"a{n}", n + 1) for n in range(number, number + fresh)]
                number += fresh
                do(store, *make.tasks_insert(rows))
                active = {f"a{n}" for n in ends} & {r.task_uid for r, _ in store.reads.tasks.active()}
                if order is not Order.DISPATCH:
                    do(store, make.tasks_end([end(uid, time_stop=NOW) for uid in sorted(active)]))
                _delete(store, gone)
        assert len(shown) == len(set(shown))
        left = {row[0] for row in connection.execute("SELECT task_uid FROM task")}
        stayed = [uid for uid in first if uid in left]
        assert [uid for uid in shown if uid in set(stayed)] == stayed
    finally:
        store.close()


def _delete(store: Store, numbers: set[int]) -> None:
    """Delete ended tasks as retention does."""
    states = store.reads.task_states(f"a{n}" for n in numbers)
    ended = [uid for uid, state in states.items() if is_terminal(state)]
    store.submit([make.tasks_delete(ended)]).result(20)


def _uids(store: Store, page: Page) -> list[str]:
    return [record.task_uid for record in store.reads.tasks.records(page.ids)]


def test_one_snapshot_for_an_answer(tmp_path: Path) -> None:
    """While tasks are submitted and end, the groups of each answer add up to its total."""
    import asyncio

    store = Store.open(tmp_path / "state")

    async def scenario() -> None:
        futures = []
        for n in range(0, 300, 10):
            rows = [new(f"a{k}", k + 1) for k in range(n, n + 10)]
            futures.append(store.enqueue(make.tasks_insert(rows)))
            futures.append(store.enqueue([make.tasks_end([end(f"a{k}") for k in range(n, n + 5)])]))
            groups, page = await store.read_heavy(
                lambda reads: (
                    reads.pages.group(ALL, "state", now=NOW),
                    reads.pages.page(ALL, now=NOW, limit=1000),
                )
            )
            assert groups.total == sum(n for _, n in groups.counts) == page.total == len(page.ids)
        await asyncio.gather(*futures)

    try:
        asyncio.run(scenario())
    finally:
        store.close()
