"""Sweeps and plans: which cells they have, in which order, and their files."""

from __future__ import annotations

from itertools import product

import pytest
from some_cells import AXES, cell

from bench.budgets import parse_budgets
from bench.cells import Cell, Plan, Sweep, with_baselines
from bench.contract import METHODS
from bench.datasets import DATASETS
from bench.errors import BenchError, DamagedFileError, UsageError
from bench.models import MODELS
from bench.planfiles import identities
from bench.protocols import PROTOCOLS
from bench.storage import read_json, write_json


def sweep(methods="full,random", ratios="10,20", models="resnet8", protocols="smoke", **seeds):
    return Sweep(
        dataset=DATASETS.make_one("digits"),
        fingerprint="f",
        methods=METHODS.make(methods),
        budgets=parse_budgets(ratios),
        models=MODELS.make(models),
        protocols=PROTOCOLS.make(protocols),
        **seeds,
    )


def test_every_combination_is_a_cell_once():
    plan = Plan.of(
        sweep("random,dq", "10,20", "resnet8,resnet18", "smoke,cpu", seeds=2, selection_seeds=3)
    )
    found = [
        (c.method.name, c.budget.label, c.model.name, c.protocol.name, c.selection_seed,
         c.training_seed)
        for c in plan.cells
    ]  # fmt: skip
    assert len(found) == len(set(found))
    assert set(found) == set(
        product(
            ["random", "dq"], ["10", "20"], ["resnet8", "resnet18"], ["smoke", "cpu"],
            range(3), range(2),
        )
    )  # fmt: skip


def test_a_sweep_of_too_many_cells_is_refused_before_they_are_made():
    sweep("full,random", "10,20", seeds=10**6 // 3)  # no budget changes the full set: 3 a seed
    with pytest.raises(UsageError, match=r"1,000,002 cells.*333,334 runs of 3 .*At most 1,000,000"):
        sweep("full,random", "10,20", seeds=10**6 // 3 + 1)
    with pytest.raises(UsageError, match=r"1,002,000 cells are too many: 501,000 runs of 2"):
        sweep("random", "10,20", seeds=501, selection_seeds=1000)


def test_without_selection_seeds_selection_and_training_go_together():
    plan = Plan.of(sweep("random", "10", seeds=3))
    assert [(c.selection_seed, c.training_seed) for c in plan.cells] == [(0, 0), (1, 1), (2, 2)]


def test_a_full_table_of_one_seed_comes_before_the_next_seed():
    plan = Plan.of(sweep("random,dq", "10,20", seeds=3))
    seeds = [c.training_seed for c in plan.cells]
    assert seeds == sorted(seeds)


@pytest.mark.parametrize("selection_seeds", [None, 4])
def test_full_has_one_budget_and_one_selection(selection_seeds):
    plan = Plan.of(sweep("full", "10,20,30", seeds=3, selection_seeds=selection_seeds))
    assert [(c.budget.label, c.selection_seed, c.training_seed) for c in plan.cells] == [
        ("100", 0, 0), ("100", 0, 1), ("100", 0, 2),
    ]  # fmt: skip


def test_a_method_that_no_budget_changes_has_one_cell_a_seed():
    plan = Plan.of(sweep("adq[edition=literal]", "10,20,30", seeds=2))
    assert [(c.budget.label, c.selection_seed) for c in plan.cells] == [("100", 0), ("100", 1)]


def test_all_methods_of_a_plan_share_the_training_seeds():
    plan = Plan.of(sweep("full,random,dq", "10", seeds=3, selection_seeds=2))
    by_method = {name: set() for name in ("full", "random", "dq")}
    for one in plan.cells:
        by_method[one.method.name].add(one.training_seed)
    assert set(map(frozenset, by_method.values())) == {frozenset({0, 1, 2})}


def test_a_larger_sweep_holds_the_cells_of_a_smaller_one():
    small = {c.id for c in Plan.of(sweep(ratios="10", seeds=1)).cells}
    large = {c.id for c in Plan.of(sweep(ratios="5,10", seeds=2)).cells}
    assert small < large


def test_baselines_come_first_and_are_not_doubled():
    def names(text):
        return [method.spec for method in with_baselines(METHODS.make(text))]

    assert names("dq") == ["full", "random", "dq"]
    assert names("dq,random") == ["full", "dq", "random"]
    assert names("random,full") == ["random", "full"]


def test_a_plan_is_read_as_it_was_saved(tmp_path):
    plan = Plan.of(sweep("full,random,adq[alpha=[0,0.7]]", "10,12.50", seeds=2))
    plan.save(tmp_path / "plan.json")
    read = Plan.read(tmp_path / "plan.json")
    assert read == plan
    assert read.id == plan.id
    told = identities(read_json(tmp_path / "plan.json"))
    assert told == {cell.id: cell.identity() for cell in plan.cells}


def test_a_plan_of_the_first_schema_is_read_and_one_of_a_newer_bench_is_told(tmp_path):
    plan = Plan.of(sweep("random", "10", seeds=2))
    content = {"schema": 1, "id": plan.id, "cells": [cell.identity() for cell in plan.cells]}
    write_json(tmp_path / "plan.json", content)
    assert Plan.read(tmp_path / "plan.json") == plan
    write_json(tmp_path / "plan.json", content | {"schema": 3})
    with pytest.raises(UsageError, match="of a newer bench"):
        Plan.read(tmp_path / "plan.json")


def test_the_id_of_a_plan_tells_its_cells_and_their_order():
    one, two = cell(), cell(training_seed=1)
    ids = {Plan(cells).id for cells in [(), (one,), (two,), (one, two), (two, one)]}
    assert len(ids) == 5
    assert Plan((one,)).id == Plan((cell(),)).id


@pytest.mark.parametrize("axis", AXES)
def test_a_plan_made_with_another_version_of_a_component_is_refused(axis, tmp_path, monkeypatch):
    plan = Plan((cell(),))
    plan.save(tmp_path / "plan.json")
    monkeypatch.setattr(type(getattr(plan.cells[0], axis)), "version", 7)
    with pytest.raises(UsageError, match=f"{axis} .* has version 7 here and 1 in the plan"):
        Plan.read(tmp_path / "plan.json")


def test_a_plan_made_under_another_identity_rule_is_refused():
    with pytest.raises(UsageError, match=r"identity version 99, this bench has 2. Plan again"):
        Cell.from_identity(cell().identity() | {"identity_version": 99})


def test_a_plan_with_a_method_that_is_not_installed_here_names_it():
    identity = cell().identity()
    identity["method"] = {**identity["method"], "name": "rendom"}
    with pytest.raises(UsageError, match=r"unknown method 'rendom'. Did you mean 'random'"):
        Cell.from_identity(identity)


def test_a_plan_that_was_changed_by_hand_is_refused(tmp_path):
    path = tmp_path / "plan.json"
    Plan((cell(),)).save(path)
    path.write_text(path.read_text().replace('"name": "random"', '"name": "rendom"'))
    with pytest.raises(DamagedFileError, match="checksum"):
        Plan.read(path)


def test_a_file_that_is_no_plan_is_told_as_such(tmp_path):
    with pytest.raises(BenchError, match=r"gone\.json"):
        Plan.read(tmp_path / "gone.json")
    write_json(tmp_path / "record.json", {"schema": 1, "metrics": {}})
    with pytest.raises(BenchError, match=r"record\.json is no plan"):
        Plan.read(tmp_path / "record.json")
