"""The context: seeds by role, and artefacts that are made once and paid by everyone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.artefacts import ArtefactStore
from bench.context import RunContext
from bench.leases import Leases
from bench.progress import Progress
from bench.results import Results

DATASET = {"name": "toys", "version": 1, "parameters": {}, "fingerprint": "f"}


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def context_of(tmp_path, warnings):
    """Return a function that makes the context of another selection on the same folder."""

    def make(dataset=DATASET, selection_seed=0, device="cpu", progress=None):
        return RunContext(
            dataset=dataset,
            selection_seed=selection_seed,
            device=device,
            store=ArtefactStore(tmp_path / "artefacts", warnings.append),
            leases=Leases(tmp_path / "leases"),
            checkpoint=Results(tmp_path).checkpoint,
            progress=progress,
        )

    return make


class Maker:
    """Makes an array and counts how often it was asked to."""

    def __init__(self, value=1.0):
        self.value = value
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"x": np.full(3, self.value)}


def never():
    pytest.fail("this artefact must not be made")


# identity


def test_the_same_artefact_has_the_same_id_on_every_device(context_of):
    one = context_of(device="cpu").artefact("bins", never, params={"bins": 10, "kernel": "rbf"})
    other = context_of(device="cuda").artefact("bins", never, params={"kernel": "rbf", "bins": 10})
    assert one.id == other.id
    assert one.id.startswith("bins-")


def test_whatever_decides_its_content_changes_its_id(context_of):
    ctx = context_of()
    source, other_source = (ctx.artefact("source", never, params={"k": k}) for k in (1, 2))
    variants = [
        ctx.artefact("bins", never),
        ctx.artefact("scores", never),
        ctx.artefact("bins", never, params={"bins": 10}),
        ctx.artefact("bins", never, params={"bins": 20}),
        ctx.artefact("bins", never, params={"cells": 10}),
        ctx.artefact("bins", never, inputs=[source]),
        ctx.artefact("bins", never, inputs=[other_source]),
        ctx.artefact("bins", never, inputs=[source, other_source]),
        ctx.artefact("bins", never, inputs=[other_source, source]),
        ctx.artefact("bins", never, seeded=False),
        context_of(selection_seed=1).artefact("bins", never),
        context_of(dataset={**DATASET, "fingerprint": "g"}).artefact("bins", never),
        context_of(dataset={**DATASET, "parameters": {"size": 8}}).artefact("bins", never),
    ]
    assert len({artefact.id for artefact in variants}) == len(variants)


def test_an_artefact_without_random_choices_is_shared_by_all_selections(context_of):
    one, other = (
        context_of(selection_seed=seed).artefact("texture", never, seeded=False) for seed in (0, 1)
    )
    assert one.id == other.id


def test_what_is_made_from_another_selections_artefact_is_another_artefact(context_of):
    made = []
    for seed in (0, 1):
        ctx = context_of(selection_seed=seed)
        made.append(ctx.artefact("bins", never, inputs=[ctx.artefact("e", never)], seeded=False))
    assert made[0].id != made[1].id


# making


def test_nothing_is_made_before_it_is_read(context_of, tmp_path):
    ctx = context_of()
    first = ctx.artefact("first", never)
    second = ctx.artefact("second", never, inputs=[first])
    assert second.inputs == (first,)
    assert ctx.costs == {}
    assert not (tmp_path / "artefacts").exists()


def test_an_artefact_is_made_once_for_all_who_read_it(context_of):
    make = Maker(7.0)
    ctx = context_of()
    artefact = ctx.artefact("x", make)
    assert artefact["x"].tolist() == [7.0, 7.0, 7.0]
    assert artefact["x"].tolist() == ctx.artefact("x", make)["x"].tolist()
    assert context_of().artefact("x", never)["x"].tolist() == [7.0, 7.0, 7.0]
    assert make.calls == 1


def test_an_input_is_made_when_it_is_read_and_found_when_it_is_there(context_of):
    source = Maker(2.0)
    ctx = context_of()
    first = ctx.artefact("first", source)
    second = ctx.artefact("second", lambda: {"x": first["x"] * 10}, inputs=[first])
    assert second["x"].tolist() == [20.0, 20.0, 20.0]
    third = ctx.artefact("third", lambda: {"x": first["x"] + second["x"]}, inputs=[first, second])
    assert third["x"].tolist() == [22.0, 22.0, 22.0]
    assert source.calls == 1


def test_a_damaged_artefact_is_made_anew_with_a_warning(context_of, tmp_path, warnings):
    artefact = context_of().artefact("x", Maker())
    artefact["x"]
    (tmp_path / "artefacts" / artefact.id / "data.safetensors").write_bytes(b"")
    again = Maker()
    assert context_of().artefact("x", again)["x"].tolist() == [1.0, 1.0, 1.0]
    assert again.calls == 1
    assert len(warnings) == 1


def test_a_maker_that_fails_leaves_nothing_and_the_next_one_may_try(context_of, tmp_path):
    def fail():
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError, match="no luck"):
        context_of().artefact("x", fail)["x"]
    assert list((tmp_path / "leases").iterdir()) == []
    assert context_of().artefact("x", Maker(3.0))["x"].tolist() == [3.0, 3.0, 3.0]


def test_an_array_that_an_artefact_does_not_hold_is_a_key_error(context_of):
    with pytest.raises(KeyError, match="y"):
        context_of().artefact("x", Maker())["y"]


# costs


def chain(ctx, make=Maker):
    """Three artefacts: the last from the second, the second from the first."""
    first = ctx.artefact("first", make())
    second = ctx.artefact("second", make(), inputs=[first])
    return first, second, ctx.artefact("third", make(), inputs=[second])


def test_who_reads_an_artefact_pays_for_all_that_it_was_made_from(context_of):
    ctx = context_of()
    artefacts = chain(ctx)
    artefacts[-1]["x"]
    assert ctx.costs.keys() == {artefact.id for artefact in artefacts}
    assert {cost["kind"] for cost in ctx.costs.values()} == {"first", "second", "third"}
    assert all(cost["seconds"] >= 0 for cost in ctx.costs.values())
    assert {cost["device"] for cost in ctx.costs.values()} == {"cpu"}


def test_a_found_artefact_costs_what_it_cost_to_make(context_of):
    first = context_of()
    chain(first)[-1]["x"]
    later = context_of(device="another")
    chain(later, lambda: never)[-1]["x"]
    assert later.costs == first.costs


def test_a_found_input_of_a_new_artefact_is_paid_too(context_of):
    first = context_of()
    chain(first)[1]["x"]
    later = context_of()
    artefacts = chain(later)
    artefacts[-1]["x"]
    assert later.costs.keys() == {artefact.id for artefact in artefacts}
    assert {key: later.costs[key] for key in first.costs} == first.costs


def test_who_reads_only_a_part_pays_only_for_it(context_of):
    chain(context_of())[-1]["x"]
    ctx = context_of()
    first, second, _ = chain(ctx, lambda: never)
    second["x"]
    assert ctx.costs.keys() == {first.id, second.id}


def test_an_artefact_that_is_needed_twice_is_paid_once(context_of):
    ctx = context_of()
    first = ctx.artefact("first", Maker())
    left, right = (ctx.artefact(kind, Maker(), inputs=[first]) for kind in ("left", "right"))
    ctx.artefact("both", Maker(), inputs=[left, right])["x"]
    assert sorted(cost["kind"] for cost in ctx.costs.values()) == ["both", "first", "left", "right"]


def test_seconds_of_an_input_made_meanwhile_are_not_counted_twice(context_of, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    ctx = context_of()

    def taking(seconds, *inputs):
        clock[0] += seconds
        for needed in inputs:
            needed["x"]
        return {"x": np.zeros(1)}

    first = ctx.artefact("first", partial(taking, 5))
    ctx.artefact("second", partial(taking, 2, first), inputs=[first])["x"]
    assert {cost["kind"]: cost["seconds"] for cost in ctx.costs.values()} == {
        "first": 5.0,
        "second": 2.0,
    }


# several workers


def test_two_threads_that_need_the_same_artefact_make_it_once(context_of):
    class Slow(Maker):
        """Does not end before the other worker waits for it."""

        waited_for = threading.Event()

        def __call__(self):
            assert self.waited_for.wait(timeout=30)
            return super().__call__()

    class Told(Progress):
        def waiting(self, reason):
            assert f"x made by another bench run (process {os.getpid()} on " in reason
            Slow.waited_for.set()

    make, read = Slow(5.0), []

    def work():
        read.append(context_of(progress=Told()).artefact("x", make)["x"].tolist())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [[5.0, 5.0, 5.0]] * 2
    assert make.calls == 1


def test_an_artefact_that_another_worker_made_a_moment_ago_is_not_made_again(context_of, tmp_path):
    class Late(Leases):
        def try_take(self, name):
            context_of().artefact("x", Maker(4.0))["x"]
            return super().try_take(name)

    store = ArtefactStore(tmp_path / "artefacts", pytest.fail)
    late = RunContext(
        DATASET, 0, "cpu", store, Late(tmp_path / "leases"), Results(tmp_path).checkpoint
    )
    assert late.artefact("x", never)["x"].tolist() == [4.0, 4.0, 4.0]


WORKER = """
import pathlib, sys, time
import numpy as np
from bench.artefacts import ArtefactStore
from bench.context import RunContext
from bench.leases import Leases
from bench.results import Results

folder = pathlib.Path(sys.argv[1])

def make():
    with (folder / "log").open("a") as log:
        log.write("made ")
    time.sleep(0.3)
    return {"x": np.arange(3)}

context = RunContext(
    dataset={}, selection_seed=0, device="cpu",
    store=ArtefactStore(folder / "artefacts", print), leases=Leases(folder / "leases"),
    checkpoint=Results(folder).checkpoint,
)
print("ready", flush=True)
sys.stdin.readline()
print(context.artefact("x", make)["x"].tolist(), list(context.costs) != [])
"""


def test_two_processes_that_need_the_same_artefact_make_it_once(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0] for process in processes]
    assert answers == ["[0, 1, 2] True\n"] * 2
    assert (tmp_path / "log").read_text() == "made "


# seeds

ROLES = st.lists(st.text(max_size=3) | st.integers(0, 3), max_size=2).map(tuple)


@given(st.tuples(st.integers(0, 3), ROLES), st.tuples(st.integers(0, 3), ROLES))
def test_seeds_differ_by_role_and_by_selection(one, other):
    seeds = []
    for selection_seed, role in (one, other):
        ctx = RunContext({}, selection_seed, "cpu", store=None, leases=None, checkpoint=None)
        seeds.append(ctx.seed(*role))
    assert (seeds[0] == seeds[1]) == (one == other)


def test_a_generator_draws_the_same_in_every_process_and_on_every_data_set(context_of):
    draws = [
        ctx.generator("draw").integers(0, 1000, 5).tolist()
        for ctx in (context_of(), context_of(device="cuda"), context_of(dataset={"name": "b"}))
    ]
    assert draws[0] == draws[1] == draws[2]
    assert context_of().generator("other").integers(0, 1000, 5).tolist() != draws[0]
    assert context_of(selection_seed=1).generator("draw").integers(0, 1000, 5).tolist() != draws[0]


def test_stages_are_told_as_they_come(context_of):
    class Told(Progress):
        stages = []  # noqa: RUF012

        def stage(self, stage, done, total):
            self.stages.append((stage, done, total))

    ctx = context_of(progress=Told())
    ctx.artefact("bins", Maker())["x"]
    ctx.progress("greedy", 1, 4)
    assert Told.stages == [("making bins", 0, 0), ("greedy", 1, 4)]


def test_waiting_for_another_worker_is_charged_to_nobody(context_of):
    def slow():
        time.sleep(0.5)
        return {"x": np.zeros(1)}

    other = context_of()
    worker = threading.Thread(target=lambda: other.artefact("slow", slow)["x"])

    def impatient():
        worker.start()
        while not other._making:
            time.sleep(0.001)
        ours.artefact("slow", never)["x"]
        return {"x": np.zeros(1)}

    ours = context_of()
    ours.artefact("fast", impatient)["x"]
    worker.join()
    seconds = {cost["kind"]: cost["seconds"] for cost in ours.costs.values()}
    assert seconds["slow"] >= 0.5
    assert seconds["fast"] < 0.4


def test_what_is_read_without_being_declared_is_charged_too(context_of):
    def make_of(context):
        hidden = context.artefact("hidden", Maker())
        return context.artefact("open", lambda: {"x": hidden["x"]})

    fresh, cached = context_of(), context_of()
    make_of(fresh)["x"]
    make_of(cached)["x"]
    assert {cost["kind"] for cost in cached.costs.values()} == {"hidden", "open"}
    assert cached.costs == fresh.costs


def test_an_artefact_of_another_version_is_another_artefact(context_of):
    context = context_of()
    assert context.artefact("x", never).id != context.artefact("x", never, version=2).id


def test_seconds_of_an_interrupted_attempt_are_charged(context_of):
    context = context_of()

    def make():
        context.charge(100.0, 60.0)
        return {"x": np.zeros(1)}

    context.artefact("x", make)["x"]
    (cost,) = context.costs.values()
    assert cost["seconds"] > 100.0
    assert (cost["before_s"], cost["elsewhere_s"]) == (100.0, 60.0)
