"""Cells and plans: identity, enumeration and the way to a file and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from itertools import product
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.budgets import Budget, parse_budgets
from bench.cells import Cell, Plan, Sweep, with_baselines
from bench.components import parameters
from bench.contract import METHODS, Method, MethodInfo
from bench.datasets import DATASETS, Dataset
from bench.errors import BenchError, DamagedFileError, UsageError
from bench.identity import cell_id
from bench.models import MODELS, Model
from bench.planfiles import identities
from bench.protocols import PROTOCOLS, Protocol
from bench.storage import read_json, write_json


def cell(
    method="random", budget="10", dataset="digits", model="resnet8", protocol="smoke", **fields
) -> Cell:
    return Cell(
        **{"fingerprint": "f", "selection_seed": 0, "training_seed": 0, **fields},
        dataset=DATASETS.make_one(dataset),
        method=METHODS.make_one(method),
        budget=Budget.parse(budget),
        model=MODELS.make_one(model),
        protocol=PROTOCOLS.make_one(protocol),
    )


CELLS = st.builds(
    cell,
    method=st.sampled_from(["random", "full", "dq", "dq[bins=5]", "adq[alpha=0]", "adq[alpha=1]"]),
    budget=st.sampled_from(["10", "10.0", "12.5", "1e1"]),
    model=st.sampled_from(["resnet8", "resnet8[width=16]", "resnet8[width=8]", "resnet18"]),
    protocol=st.sampled_from(["smoke", "smoke[epochs=1]", "cpu", "smoke[learning_rate=0.05]"]),
    fingerprint=st.sampled_from(["f", "g"]),
    selection_seed=st.integers(0, 1),
    training_seed=st.integers(0, 1),
)


# identity


@given(CELLS, CELLS)
def test_ids_are_equal_exactly_where_cells_are(one, other):
    assert (one == other) == (one.id == other.id) == (one.identity() == other.identity())


@given(CELLS)
def test_the_id_of_a_plans_cell_is_that_of_a_records_cell(one):
    recorded = json.loads(json.dumps(one.identity()))
    assert cell_id(recorded) == one.id
    assert Cell.from_identity(recorded) == one
    assert Cell.from_identity(recorded).id == one.id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (cell(budget="10"), cell(budget="10.0")),
        (cell(budget="10"), cell(budget="1e1")),
        (cell("adq[alpha=1]"), cell("adq[alpha=1.0]")),
        (cell("adq[alpha=0]"), cell("adq[alpha=-0.0]")),
        (cell("adq[alpha=0.25,bins=5]"), cell("adq[bins=5,alpha=0.25]")),
        (cell("dq"), cell("dq[bins=10]")),
        (cell(model="resnet8"), cell(model="resnet8[width=16]")),
        (cell(protocol="smoke[nesterov=true]"), cell(protocol="smoke[nesterov=YES]")),
    ],
    ids=lambda one: f"{one.method.spec} {one.budget.percent}",
)
def test_the_spelling_is_no_part_of_the_id(one, other):
    assert one.id == other.id


def other_values(parameter, value):
    """Values that might be allowed for the parameter and differ from the given one."""
    if parameter.choices:
        return [choice for choice in parameter.choices if choice != value]
    if parameter.type is bool:
        return [not value]
    if parameter.type is str:
        return ["resnet18", "resnet8", "random", "rand-m5-n1", "other"]
    if parameter.type is float:
        return [value + 1, value - 1, value / 2, value + 0.25]
    return [value + 1, value - 1, value // 2]


def changed(component, parameter):
    """The component with another allowed value of one parameter; None where none is known."""
    value = getattr(component, parameter.name)
    for other in other_values(parameter, value):
        try:
            made = replace(component, **{parameter.name: other})
        except UsageError:
            continue
        if getattr(made, parameter.name) != value:
            return made
    return None


def changed_pair(registry, name, parameter):
    """Two components that differ in one parameter; some may change in one edition only."""
    bases = [name, f"{name}[edition=released]"]
    if name == "timm":  # pretrained weights need a tag
        bases = [name, f"{name}[architecture=resnet18.tv_in1k]"]
    # Settings of a warm-up that a schedule does not know are refused.
    if parameter.name == "warmup_epochs":
        bases = [f"{name}[schedule=step,warmup_learning_rate=0]"]
    if parameter.name == "warmup_learning_rate":
        bases = [f"{name}[schedule=epoch,warmup_epochs=0]"]
    if parameter.name == "schedule":
        bases = [f"{name}[warmup_epochs=0,warmup_learning_rate=0]"]
    for spec in bases:
        component = registry.make_one(spec)
        if other := changed(component, parameter):
            return component, other
    raise AssertionError(f"no other value of {name}.{parameter.name} is known here")


AXES = {"dataset": DATASETS, "method": METHODS, "model": MODELS, "protocol": PROTOCOLS}
PARAMETERS = [
    (axis, name, parameter)
    for axis, registry in AXES.items()
    for name in registry.names()
    for parameter in parameters(registry.get(name))
]


@pytest.mark.parametrize(
    ("axis", "name", "parameter"),
    PARAMETERS,
    ids=[f"{axis}-{name}-{parameter.name}" for axis, name, parameter in PARAMETERS],
)
def test_every_parameter_of_every_component_changes_the_id(axis, name, parameter):
    one, other = changed_pair(AXES[axis], name, parameter)
    before, after = (replace(cell(), **{axis: component}) for component in (one, other))
    assert after.id != before.id


def test_an_identity_may_be_changed_without_changing_anything_else():
    before = cell("adq").identity()
    told = cell("adq").identity()
    told["method"]["parameters"]["alpha"] = told["dataset"]["version"] = 99
    told["method"].get("named", {}).clear()
    assert cell("adq").identity() == before
    assert cell_id(before) == cell("adq").id


def test_the_id_holds_the_components_that_parameters_name():
    one = cell("classwise[base=adq[alpha=0.25]]")
    assert "adq" in json.dumps(one.identity()["method"]["named"])
    assert cell_id(one.identity()) == one.id


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "another"},
        {"budget": Budget(Decimal("10.01"))},
        {"selection_seed": 1},
        {"training_seed": 1},
        {"dataset": DATASETS.make_one("cifar10")},
        {"method": METHODS.make_one("dq")},
        {"model": MODELS.make_one("resnet18")},
        {"protocol": PROTOCOLS.make_one("cpu")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_changes_the_id(change):
    assert replace(cell(), **change).id != cell().id


def test_no_field_of_a_cell_is_left_out_above():
    told = {"fingerprint", "budget", "selection_seed", "training_seed", *AXES}
    assert told == {field.name for field in fields(Cell)}


def test_the_seeds_are_two_axes():
    assert cell(selection_seed=1).id != cell(training_seed=1).id


@pytest.mark.parametrize("axis", AXES)
def test_the_version_of_every_component_changes_the_id(axis, monkeypatch):
    before = cell().id
    component = type(getattr(cell(), axis))
    monkeypatch.setattr(component, "version", component.version + 1)
    assert cell().id != before


@dataclass(frozen=True)
class ToyDataset(Dataset):
    name: ClassVar[str] = "toys"
    size: int = 8


@dataclass(frozen=True)
class ToyMethod(Method):
    name: ClassVar[str] = "toy"
    info: ClassVar[MethodInfo] = MethodInfo("toy", "none", 2025, "selection", "none")
    alpha: float = 0.5
    scores: Literal["rs", "ds"] = "rs"


@dataclass(frozen=True)
class ToyModel(Model):
    name: ClassVar[str] = "net"
    deep: bool = False


@dataclass(frozen=True)
class ToyProtocol(Protocol):
    name: ClassVar[str] = "short"
    version: ClassVar[int] = 3


def test_the_rule_that_makes_a_cells_id_has_not_changed():
    """Where this fails, no record on any disk is found again; see test_identity.py."""
    pinned = Cell(
        dataset=ToyDataset(),
        fingerprint="files-0123",
        method=ToyMethod(alpha=0.7),
        budget=Budget.parse("12.50"),
        selection_seed=1,
        model=ToyModel(deep=True),
        protocol=ToyProtocol(),
        training_seed=2,
    )
    identity = pinned.identity()
    assert set(identity["protocol"].pop("parameters")) == {p.name for p in parameters(Protocol)}
    assert identity == {
        "identity_version": 2,
        "dataset": {
            "name": "toys",
            "version": 1,
            "parameters": {"size": 8},
            "fingerprint": "files-0123",
        },
        "method": {"name": "toy", "version": 1, "parameters": {"alpha": 0.7, "scores": "rs"}},
        "budget": {"percent": "12.5", "of": "images"},
        "selection_seed": 1,
        "model": {"name": "net", "version": 1, "parameters": {"deep": True}},
        "protocol": {"name": "short", "version": 3},
        "training_seed": 2,
    }
    assert cell_id(identity) == "cell-2-d6862d8007b3c29b73a4"


def test_a_cell_is_named_for_people_by_what_differs_from_the_defaults():
    one = cell("adq[alpha=0.25]", "12.50", protocol="smoke[epochs=3]")
    assert one.specs() == {
        "dataset": "digits",
        "method": "adq[alpha=0.25]",
        "model": "resnet8",
        "protocol": "smoke[epochs=3]",
    }
    assert one.label == "adq[alpha=0.25] 12.5 % resnet8 seed 0"


# enumeration


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


# plans and their files


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
