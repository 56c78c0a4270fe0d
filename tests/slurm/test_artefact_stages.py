"""What cells share: made once by its own job, or blocking all that want it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from slurm_jobs import ended

from bench.contract import CompressedSet
from bench.datasets import Source
from slurm.dispatch import prepare
from slurm.profiles import Profile


def test_an_artefact_that_fails_blocks_its_cells_until_they_are_submitted_anew(
    work, plan, results, register
):
    asked = []

    def compress(self, train, budget, ctx):
        asked.append(budget)
        if len(asked) <= 1:
            raise ValueError("broken")
        return CompressedSet(np.arange(budget.images(len(train))))

    sweep = plan(register(compress), seeds=1, widths=(4, 2))
    assert ended(work(sweep, stage="artefacts")) == 0
    told = [(failure["phase"], failure["type"]) for failure in results.failures()]
    assert told == [("blocked", "ValueError")] * 2
    assert ended(work(sweep)) == 1
    assert len(asked) == 1, "a blocked cell was tried"
    assert ended(work(sweep, attempts={cell.id: 1 for cell in sweep.cells})) == 0
    assert list(results.failures()) == []


def test_what_the_artefact_stage_made_is_not_made_again(work, plan, results, register):
    made = []

    def compress(self, train, budget, ctx):
        made.append(budget)
        return CompressedSet(np.arange(budget.images(len(train))))

    sweep = plan(register(compress), seeds=1, budgets="10,20", widths=(4, 2))
    ended(work(sweep, stage="artefacts"))
    assert len(made) == 2
    assert list(results.records()) == []
    assert ended(work(sweep)) == 0
    assert len(made) == 2


class TestSharedArtefacts:
    """A method with two artefacts: one that all seeds share, and one of each seed."""

    @pytest.fixture
    def made(self):
        return []

    @pytest.fixture
    def sweep(self, plan, register, made):
        def artefacts(self, train, ctx):
            def make(name):
                made.append(name)
                if "broken" in made:
                    raise ValueError(name)
                return {"a": np.zeros(1)}

            common = ctx.artefact("common", lambda: make("common"), seeded=False)
            seed = f"seed{ctx.selection_seed}"
            return [ctx.artefact("own", lambda: make(seed), inputs=[common])]

        def compress(self, train, budget, ctx):
            made.append("set")
            return CompressedSet(np.arange(budget.images(len(train))))

        return plan(register(compress, artefacts), seeds=2, budgets="10,20")

    def test_each_stage_makes_what_is_shared_and_leaves_the_sets_to_the_cells(
        self, work, sweep, made
    ):
        assert ended(work(sweep, stage="common")) == 0
        assert made == ["common"]
        assert ended(work(sweep, stage="artefacts")) == 0
        assert made == ["common", "seed0", "seed1"]
        assert ended(work(sweep)) == 0
        assert sorted(made) == ["common", "seed0", "seed1"] + ["set"] * 4

    def test_they_are_made_from_the_images_in_the_order_of_their_keys(
        self, work, plan, register, monkeypatch
    ):
        seen = []

        def artefacts(self, train, ctx):
            return [
                ctx.artefact("own", lambda: seen.append(list(train.keys)) or {"a": np.zeros(1)})
            ]

        def compress(self, train, budget, ctx):
            seen.append(list(train.keys))
            return CompressedSet(np.arange(budget.images(len(train))))

        sweep = plan(register(compress, artefacts), seeds=1, budgets="10,20")
        kind = type(sweep.cells[0].dataset)
        load = kind.load

        def turned(self, source):
            splits = load(self, source)
            return replace(splits, train=splits.train.subset(np.arange(len(splits.train))[::-1]))

        monkeypatch.setattr(kind, "load", turned)
        ended(work(sweep, stage="artefacts"))
        ended(work(sweep))
        assert len(seen) == 3
        assert all(keys == sorted(keys) for keys in seen)

    def test_one_that_fails_is_tried_once_and_blocks_all_that_want_it(
        self, work, sweep, made, results
    ):
        made.append("broken")
        assert ended(work(sweep, stage="common")) == 0
        assert made == ["broken", "common"]
        failures = list(results.failures())
        assert len(failures) == len(sweep.cells) == 4
        assert {(f["phase"], f["message"]) for f in failures} == {("blocked", "common")}

    def test_the_forecast_asks_for_the_same_stages(self, sweep, results):
        made = prepare(sweep, results, Source(), Profile()).arrays
        told = [(a.stage, len(a.tasks), a.waits) for a in made]
        assert told == [("common", 1, False), ("artefacts", 2, True), ("cells", 4, True)]
