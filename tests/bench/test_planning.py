"""Forecasts: what a plan would compute, told without computing or loading anything."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from bench.budgets import Budget
from bench.cells import Cell, Plan
from bench.context import RunContext
from bench.contract import METHODS, CompressedSet, Method, MethodInfo
from bench.datasets import DATASETS, Source
from bench.errors import DataError, UsageError
from bench.models import MODELS
from bench.planning import forecast
from bench.protocols import PROTOCOLS
from bench.results import Results
from bench.selecting import select
from reports.plans import plan_table


def never():
    pytest.fail("a forecast must make nothing")


@dataclass(frozen=True)
class Binned(Method):
    """A method with three artefacts: two scores need the same embeddings."""

    name: ClassVar[str] = "binned"
    info: ClassVar[MethodInfo] = MethodInfo("binned", "none", 2025, "selection", "none")
    bins: int = 10

    def artefacts(self, train, ctx):
        embeddings = ctx.artefact("embeddings", never, params={"epochs": 1})
        bins = ctx.artefact("bins", never, inputs=[embeddings], params={"bins": self.bins})
        texture = ctx.artefact("texture", never, seeded=False)
        return [bins, ctx.artefact("scores", never, inputs=[bins, texture])]


def cell(method="random", percent="50", seed=0, protocol="smoke[epochs=2]", model="resnet8"):
    return Cell(
        dataset=DATASETS.make_one("imagefolder"),
        fingerprint="f",
        method=METHODS.make_one(method) if isinstance(method, str) else method,
        budget=Budget.parse(percent),
        selection_seed=seed,
        model=MODELS.make_one(model),
        protocol=PROTOCOLS.make_one(protocol),
        training_seed=seed,
    )


def content(images_seen=12, training_s=3.0, testing_s=1.0):
    return {
        "cost": {
            "images_seen": images_seen,
            "training_s": training_s,
            "testing_s": testing_s,
            "artefacts": {"bins-1-x": {"kind": "bins", "seconds": 7.0, "device": "cpu"}},
        },
    }


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "results")


@pytest.fixture
def source(image_folder):
    """Two classes of six training images."""
    return Source(image_folder())


def told(plan, results, source):
    return forecast(Plan(tuple(plan)), results, source)


def test_done_cells_are_told_from_those_to_be_computed(results, source):
    done, waiting, failed = cell(), cell(seed=1), cell(seed=2)
    results.write_record(done, content())
    results.write_failure(failed, {"message": "no luck"})
    expected = told([done, waiting, failed], results, source)
    assert [(one.cell, one.is_done) for one in expected.cells] == [
        (done, True), (waiting, False), (failed, False),
    ]  # fmt: skip
    assert [one.cell for one in expected.pending] == [waiting, failed]


def test_images_and_steps_follow_from_protocol_and_budget(results, source):
    asked = cell(percent="50", protocol="smoke[epochs=3,batch_size=4]")
    (one,) = told([asked], results, source).cells
    assert one.images_seen == 3 * 6
    assert one.steps == 3 * 2


def test_artefacts_are_listed_once_with_their_inputs_first_and_how_many_cells_need_them(
    results, source
):
    cells = [cell(Binned(), percent=percent) for percent in ("50", "100")]
    expected = told([*cells, cell(Binned(bins=5)), cell("random")], results, source)
    kinds = [artefact.kind for artefact in expected.artefacts]
    assert kinds == ["embeddings", "bins", "texture", "scores", "bins", "scores"]
    assert [artefact.cells for artefact in expected.artefacts] == [3, 2, 3, 2, 1, 1]
    assert len({artefact.id for artefact in expected.artefacts}) == 6
    assert not any(artefact.is_there for artefact in expected.artefacts)


def test_an_artefact_in_the_results_folder_is_there(results, source):
    one = cell(Binned())
    context = RunContext(
        one.identity()["dataset"], 0, "cpu", results.artefacts, results.leases, results.checkpoint
    )
    made = context.artefact("embeddings", lambda: {"x": np.zeros(1)}, params={"epochs": 1})
    made["x"]
    expected = told([one], results, source)
    assert {artefact.kind: artefact.is_there for artefact in expected.artefacts} == {
        "embeddings": True, "bins": False, "texture": False, "scores": False,
    }  # fmt: skip
    assert made.id == expected.artefacts[0].id


def test_artefacts_of_done_cells_are_not_needed(results, source):
    results.write_record(cell(Binned()), content())
    assert told([cell(Binned())], results, source).artefacts == []


def test_expected_seconds_follow_the_rate_of_records_of_the_same_setting(results, source):
    # 12 images in 4 s, 12 in 2 s, 12 in 1 s: the median is 6 images a second
    for seed, seconds in enumerate([3.5, 1.5, 0.5]):
        results.write_record(cell("full", "100", seed), content(12, seconds, 0.5))
    expected = told([cell("random", "50", 7), cell("random", "100", 7)], results, source)
    assert [one.seconds for one in expected.cells] == [2.0, 4.0]
    assert expected.seconds == 6.0


@pytest.mark.parametrize(
    "other", [{"protocol": "smoke[epochs=3]"}, {"model": "resnet18"}], ids=["protocol", "model"]
)
def test_without_a_record_of_the_setting_no_seconds_are_promised(results, source, other):
    results.write_record(cell(), content())
    expected = told([cell(seed=1), cell(seed=1, **other)], results, source)
    assert [one.seconds is None for one in expected.cells] == [False, True]
    assert expected.seconds is None


def test_records_without_a_time_promise_nothing(results, source):
    results.write_record(cell(), content(12, 0.0, 0.0))
    assert told([cell(seed=1)], results, source).seconds is None


def test_a_finished_plan_takes_no_more_seconds(results, source):
    results.write_record(cell(), content())
    expected = told([cell()], results, source)
    assert expected.pending == []
    assert expected.seconds == 0.0


def test_a_budget_that_leaves_a_class_empty_is_refused_with_the_least_that_does_not(
    results, source
):
    with pytest.raises(UsageError, match=r"ratio 5 leaves class 'dog' .6 training images. empty"):
        told([cell(percent="5")], results, source)


def test_a_data_set_that_is_not_there_is_told(results, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        told([cell()], results, Source(tmp_path / "nowhere"))


def test_a_forecast_writes_nothing(results, source):
    told([cell(Binned()), cell()], results, source)
    assert not results.folder.exists()


def test_a_forecast_is_written_as_json(results, source):
    results.write_record(cell(), content())
    plan = Plan((cell(), cell(Binned(), seed=1)))
    expected = json.loads(json.dumps(forecast(plan, results, source).to_json()))
    assert expected["plan"] == plan.id
    done, waiting = expected["cells"]
    assert (done["done"], waiting["done"]) == (True, False)
    assert (waiting["method"], waiting["percent"], waiting["steps"]) == ("binned", 50.0, 2)
    assert expected["artefacts"][0]["kind"] == "embeddings"
    assert expected["expected_s"] == waiting["expected_s"] == 4.0


def test_what_a_method_looks_at_is_told_once_a_set(results, source):
    looking = METHODS.make_one("dm[iterations=7,batch_real=4]")
    cells = [cell(looking, seed=seed, protocol=p) for seed in (0, 1) for p in ("smoke", "cpu")]
    found = told([*cells, cell()], results, source)
    assert found.looks == {looking.spec: 2 * 7 * (2 * 4 + 6)}
    assert f"{looking.spec}: 196 images go through its networks" in " ".join(
        plan_table(found).notes
    )


def test_the_plans_table_calls_a_reconstruction_one(results, source):
    table = plan_table(told([cell(), cell("dqas[drop=0]")], results, source))
    assert [row["method"] for row in table.rows] == ["random", "dqas[drop=0.0] (reconstruction)"]


@dataclass(frozen=True)
class Looking(Binned):
    """A method that keeps the first images, and says that it looks at ten."""

    name: ClassVar[str] = "looking"

    def artefacts(self, train, ctx):
        return [ctx.artefact("embeddings", lambda: {"x": np.zeros(1)})]

    def looks(self, class_counts, budget):
        return 10

    def compress(self, train, budget, ctx):
        return CompressedSet(np.arange(budget.images(len(train))))


def test_what_was_looked_at_for_a_stored_set_is_not_told_again(results, source):
    stored, missing = cell(Looking(), seed=0), cell(Looking(), seed=1)
    assert told([stored, missing], results, source).looks == {"looking": 20}
    context = RunContext(
        stored.identity()["dataset"], 0, "cpu", results.artefacts, results.leases,
        results.checkpoint,
    )  # fmt: skip
    select(stored.method, stored.dataset.load(source).train, stored.budget, context)
    assert told([stored, missing], results, source).looks == {"looking": 10}
    assert told([stored], results, source).looks == {}


def test_a_partial_time_is_no_total_and_says_what_is_missing(results, source):
    results.write_record(cell(), content())
    other = cell(model="convnet3")
    notes = plan_table(told([cell(), cell(seed=1), other], results, source)).notes
    assert notes[1] == (
        "Expected 4.0 s of training and testing for 1 of 2 cells; this is no total."
    )
    assert notes[2].startswith("Not known yet: the time of training and testing for 1 of 2 cells")
    whole = plan_table(told([cell(), cell(seed=1)], results, source))
    assert whole.notes[1:] == ["Expected 4.0 s of training and testing."]
    assert plan_table(told([cell()], results, source)).texts()[0][-1] == ""


def test_data_that_are_missing_are_told_although_a_plan_needs_none(results, tmp_path):
    cifar = DATASETS.make_one("cifar10")
    cells = [replace(cell(), dataset=cifar, fingerprint=cifar.archive)]
    absent = told(cells, results, Source(tmp_path))
    assert absent.to_json()["missing_data"] == cifar.missing(Source(tmp_path)) != ""
    assert "a run here is refused: cifar10 is not whole in" in plan_table(absent).notes[1]
    (tmp_path / cifar.folder).mkdir()
    assert told(cells, results, Source(tmp_path)).missing_data == ""


def test_a_method_for_another_number_of_classes_is_refused_before_any_work(results, source):
    asked = cell("classwise[base=random,allocation=released-adq]")
    with pytest.raises(UsageError, match=r"^classwise\[.*\] is for 10 classes, and there are \d\."):
        told([cell(), asked], results, source)


@pytest.mark.parametrize("asked", ["artefacts", "looks", "refuse_unready", "expected_images"])
def test_a_method_that_fails_when_a_plan_asks_it_is_named_in_a_line(
    monkeypatch, results, source, asked
):
    def fail(self, *_):
        raise ValueError("no images\nhere")

    monkeypatch.setattr(Binned, asked, fail)
    reason = rf"^binned: {asked}\(\) failed \(ValueError: no images\); .* bench check binned$"
    with pytest.raises(UsageError, match=reason):
        told([cell(Binned())], results, source)


def test_planning_every_method_imports_nothing_heavy(image_folder, tmp_path):
    code = f"""
import sys
from pathlib import Path
from bench.budgets import parse_budgets
from bench.cells import Plan, Sweep
from bench.contract import METHODS
from bench.datasets import DATASETS, Source
from bench.models import MODELS
from bench.planning import forecast
from bench.protocols import PROTOCOLS
from bench.results import Results

source = Source(Path({str(image_folder())!r}))
dataset = DATASETS.make_one("imagefolder")
named = [name for name in METHODS.names() if not METHODS.get(name).info.required]
sweep = Sweep(
    dataset=dataset, fingerprint=dataset.fingerprint(source),
    methods=METHODS.make(",".join(named)), budgets=parse_budgets("50"),
    models=MODELS.make(",".join(MODELS.names())), protocols=PROTOCOLS.make("smoke,paper"), seeds=2,
)
plan = Plan.of(sweep)
plan.save(Path({str(tmp_path)!r}) / "plan.json")
expected = forecast(Plan.read(Path({str(tmp_path)!r}) / "plan.json"), Results(Path("r")), source)
assert expected.pending and expected.artefacts
print([name for name in ("torch", "pandas", "sklearn", "matplotlib") if name in sys.modules])
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert answer.stderr == ""
    assert answer.stdout == "[]\n"
