"""Which runs go where: properties of the plan."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from remanager.data_movement.planning import Disk, Run, plan_balance

SIZES = st.lists(st.integers(0, 400), max_size=12)


@given(st.lists(SIZES, min_size=1, max_size=4), st.floats(0.0, 0.5))
def test_a_plan_never_overfills_and_makes_the_disks_more_alike(
    contents: list[list[int]], tolerance: float
) -> None:
    total = 5000
    disks = [Disk(f"d{n}", total, total - sum(sizes)) for n, sizes in enumerate(contents)]
    runs = {
        f"d{n}": [Run(f"d{n}/{i}", size, 0.0) for i, size in enumerate(sizes)]
        for n, sizes in enumerate(contents)
    }
    used = {d.name: d.total - d.free for d in disks}
    place = {run.name: disk for disk, found in runs.items() for run in found}
    before = max(used.values()) - min(used.values())
    moves = plan_balance(disks, runs, tolerance=tolerance)
    for move in moves:
        assert place[move.run] == move.source != move.target
        place[move.run] = move.target
        used[move.source] -= move.size
        used[move.target] += move.size
        assert used[move.target] <= total
    assert len({m.run for m in moves}) == len(moves)
    after = max(used.values()) - min(used.values())
    assert after <= before
    if moves:
        assert before / total > tolerance


def test_one_disk_needs_no_plan() -> None:
    assert plan_balance([Disk("d", 100, 0)], {"d": [Run("r", 100, 0.0)]}, tolerance=0.1) == []
