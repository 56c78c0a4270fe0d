from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from slurm.profiles import Profile
from slurm.requests import Ask, Need, Taught
from slurm.sharing import makings
from slurm.tasks import arrays, time_limit

SECONDS = st.one_of(st.none(), st.floats(0, 20000))
ASKS = st.sampled_from([Ask(), Ask(memory_gb=16), Ask(minutes=30)])


@st.composite
def cells(draw):
    count = draw(st.integers(0, 40))
    artefacts = {f"a{i}": draw(SECONDS) for i in range(8)}
    found = []
    for number in range(count):
        names = draw(st.sets(st.sampled_from(sorted(artefacts)), max_size=3))
        missing = {name: artefacts[name] for name in sorted(names)}
        seed = draw(st.integers(0, 2))
        found.append(
            Need(f"cell-{number}", draw(SECONDS), missing, Taught(draw(ASKS), draw(ASKS)), seed)
        )
    return found


@st.composite
def profiles(draw):
    return Profile(
        max_minutes=draw(st.integers(1, 600)),
        minutes_per_job=draw(st.integers(1, 200)),
        cells_per_job=draw(st.integers(0, 5)),
        max_memory_gb=draw(st.sampled_from([0, 12])),
        array_parallelism=draw(st.integers(1, 8)),
    )


@given(needs=cells(), profile=profiles(), largest=st.integers(1, 20))
def test_each_cell_is_in_one_task_and_each_artefact_in_one_at_most(needs, profile, largest):
    made = arrays(needs, profile, largest)
    tasks = [task for array in made for task in array.tasks if array.stage == "cells"]
    assert sorted(c for task in tasks for c in task.cells) == sorted(n.cell for n in needs)
    for array in made:
        assert 1 <= len(array.tasks) <= largest
        for task in array.tasks:
            assert (task.minutes, task.memory_gb) == (array.minutes, array.memory_gb)
            assert 1 <= task.minutes <= profile.max_minutes
    waiting = {c for task in tasks if task.waits for c in task.cells}
    staged = {c for a in made if a.stage != "cells" for t in a.tasks for c in t.cells}
    assert waiting == staged
    stages = [array.stage for array in made]
    assert stages == sorted(stages, key=["common", "artefacts", "cells"].index)


@given(needs=cells())
def test_what_is_made_before_is_made_once_and_wanted_twice(needs):
    owners = {}
    for making in makings(needs):
        for artefact in making.artefacts:
            assert owners.setdefault(artefact, making) is making
            wanting = [need for need in needs if artefact in need.missing]
            assert len(wanting) > 1
            assert all(need in making.needs for need in wanting)
            assert (len({need.seed for need in wanting}) > 1) == (making.stage == "common")


@given(needs=cells(), profile=profiles())
def test_jobs_ask_for_what_attempts_taught_of_them_and_for_no_more_than_they_may(needs, profile):
    taught = {need.cell: need.taught for need in needs}
    made = arrays(needs, profile, 100)
    staged = {c for a in made if a.stage != "cells" for t in a.tasks for c in t.cells}
    for array in made:
        for task in array.tasks:
            asks = [taught[cell].making for cell in task.cells if array.stage != "cells"]
            if array.stage == "cells":
                asks += [taught[cell].cell for cell in task.cells]
                asks += [taught[cell].making for cell in task.cells if cell not in staged]
            wanted = max(profile.memory_gb, *(ask.memory_gb for ask in asks), 0)
            assert task.memory_gb == min(wanted, profile.max_memory_gb or wanted)
            least = max(ask.minutes for ask in asks)
            assert task.minutes >= min(least, profile.max_minutes)


def test_short_cells_share_a_job_and_long_ones_have_their_own():
    profile = Profile(minutes_per_job=60, max_minutes=480)
    short = [Need(f"s{i}", 60.0) for i in range(120)]
    long = [Need(f"l{i}", 7200.0) for i in range(3)]
    tasks = [task for array in arrays([*short, *long], profile, 1000) for task in array.tasks]
    assert sorted(len(task.cells) for task in tasks) == [1, 1, 1, 60, 60]
    assert {task.minutes for task in tasks} == {120, 240}


def test_unknown_times_ask_for_all_there_is_and_make_few_jobs():
    profile = Profile(array_parallelism=4, max_minutes=99)
    (array,) = arrays([Need(f"c{i}", None) for i in range(1000)], profile, 1000)
    assert array.minutes == 99
    assert len(array.tasks) == 16


def test_cells_that_share_make_one_group_through_any_chain():
    needs = [
        Need("one", None, {"a": None}),
        Need("two", None, {"a": None, "b": None}),
        Need("three", None, {"b": None}),
        Need("alone", None, {"c": None}),
        Need("ready", None, {}),
    ]
    (making,) = makings(needs)
    assert {need.cell for need in making.needs} == {"one", "two", "three"}
    assert making.artefacts == {"a", "b"}


def test_seeds_wait_for_what_they_share_and_not_for_each_other():
    needs = [
        Need(
            f"{seed}{ratio}",
            None,
            {"texture": None, f"bins{seed}": None, seed + ratio: None},
            seed=ord(seed),
        )
        for seed in "xyz"
        for ratio in "12"
    ]
    told = [(m.stage, sorted(m.artefacts), len(m.needs), m.waits) for m in makings(needs)]
    assert told == [
        ("common", ["texture"], 6, False),
        *(("artefacts", [f"bins{seed}"], 2, True) for seed in "xyz"),
    ]
    known = [replace(need, missing=need.missing | {"texture": 5.0}) for need in needs]
    assert [(m.stage, m.waits) for m in makings(known)] == [("artefacts", False)] * 3


def test_artefacts_that_take_no_time_get_no_job_of_their_own():
    quick = [Need(f"c{i}", 1.0, {"a": 5.0}) for i in range(2)]
    slow = [Need(f"c{i}", 1.0, {"a": 500.0}) for i in range(2)]
    assert [array.stage for array in arrays(quick, Profile(), 10)] == ["cells"]
    assert [array.stage for array in arrays(slow, Profile(), 10)] == ["artefacts", "cells"]


def test_a_cell_that_makes_its_own_artefacts_is_given_their_time():
    (array,) = arrays([Need("c", 600.0, {"a": 6000.0})], Profile(), 10)
    assert array.minutes == time_limit(6600.0, Profile())
