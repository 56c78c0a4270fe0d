"""The context: seeds by role, and artefacts that are made once."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers import DATASET, Maker, never

from bench.artefacts import ArtefactStore
from bench.context import MadeElsewhere, RunContext
from bench.leases import Leases
from bench.progress import Progress
from bench.results import Results


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
from bench.context import MadeElsewhere, RunContext
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


def test_an_artefact_of_another_version_is_another_artefact(context_of):
    context = context_of()
    assert context.artefact("x", never).id != context.artefact("x", never, version=2).id


def test_what_cells_share_is_told_apart_from_a_cell_s_own_work(context_of):
    class Told(Progress):
        def stage(self, stage, done, total):
            told.append(stage)

        def shared_begins(self):
            told.append("[")

        def shared_ends(self):
            told.append("]")

    told = []
    ctx = context_of(progress=Told())
    source = ctx.artefact("source", Maker())
    bins = ctx.artefact("bins", lambda: {"x": source["x"]}, inputs=[source])
    chosen = ctx.artefact("compressed", lambda: {"x": bins["x"]}, inputs=[bins])
    chosen["x"]
    assert told == ["choosing images", "[", "making bins", "making source", "]"]


def test_who_does_not_wait_is_told_that_another_worker_makes_what_it_reads(context_of, tmp_path):
    ctx = context_of(waits=False)
    bins = ctx.artefact("bins", Maker())
    chosen = ctx.artefact("compressed", lambda: {"x": bins["x"]})
    with Leases(tmp_path / "leases").taken(bins.id), pytest.raises(MadeElsewhere):
        chosen["x"]
    assert os.listdir(tmp_path / "leases") == []
    assert chosen["x"].tolist() == [1.0] * 3


def test_what_is_made_is_not_thrown_away_for_an_input_that_it_did_not_read(context_of, tmp_path):
    class Told(Progress):
        def waiting(self, reason):
            held.close()

    ctx, make = context_of(waits=False, progress=Told()), Maker(3.0)
    source = ctx.artefact("source", Maker())
    bins = ctx.artefact("bins", lambda: {"x": source["x"]}, inputs=[source])
    scores = ctx.artefact("scores", make, inputs=[bins])
    with contextlib.ExitStack() as held:  # until it is waited for
        held.enter_context(Leases(tmp_path / "leases").taken(bins.id))
        assert scores["x"].tolist() == [3.0] * 3
    assert make.calls == 1
    assert {cost["kind"] for cost in ctx.costs.values()} == {"source", "bins", "scores"}
    other = ctx.artefact("other", Maker())  # and then nothing is waited for again
    with Leases(tmp_path / "leases").taken(other.id), pytest.raises(MadeElsewhere):
        other["x"]
