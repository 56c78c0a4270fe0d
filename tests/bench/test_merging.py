"""Joined results: what is new is taken, what is equal is told, what differs is nobody's result."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from bench import merging
from bench.budgets import Budget
from bench.cells import Cell, Plan
from bench.contract import METHODS
from bench.data_names import NAMES, read_names
from bench.datasets import DATASETS
from bench.errors import StorageError, UsageError
from bench.merging import merge
from bench.models import MODELS
from bench.protocols import PROTOCOLS
from bench.results import Results
from bench.storage import read_json, write_json


def cell(seed=0):
    return Cell(
        dataset=DATASETS.make_one("digits"),
        fingerprint="f",
        method=METHODS.make_one("random"),
        budget=Budget.parse("10"),
        selection_seed=seed,
        model=MODELS.make_one("resnet8"),
        protocol=PROTOCOLS.make_one("smoke"),
        training_seed=seed,
    )


def content(accuracy=90.0, weights="w", host="a", seconds=2.0):
    return {
        "metrics": {"accuracy": accuracy, "best_accuracy": accuracy + 1},
        "compressed": {"images": 144},
        "cost": {"training_s": seconds},
        "weights_digest": weights,
        "provenance": {"device": {"device": "cpu"}, "machine": {"host": host}},
    }


def failed(finished, message="no"):
    told = {"phase": "training", "type": "ValueError", "message": message}
    return {**told, "provenance": {"finished": finished}}


@pytest.fixture
def new(tmp_path):
    """Return a function that makes a results folder."""

    def make(name):
        results = Results(tmp_path / name)
        results.prepare()
        return results

    return make


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def join(tmp_path, warnings):
    """Return a function that merges folders of the test's folder into C."""
    return lambda *names, into="C": merge(
        [tmp_path / name for name in names], tmp_path / into, warnings.append
    )


def ids(results):
    return [record["id"] for record in results.records()]


def snapshot(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_what_several_machines_computed_is_together_and_the_sources_stay(new, join, tmp_path):
    a, b = new("A"), new("B")
    a.write_record(cell(0), content(90.0))
    b.write_record(cell(1), content(91.0))
    before = snapshot(tmp_path)
    done = join("A", "B")
    assert (done.records, done.duplicates, done.conflicts) == (2, 0, [])
    joined = Results(tmp_path / "C")
    assert ids(joined) == sorted([cell(0).id, cell(1).id])
    assert joined.record(cell(1).id) == b.record(cell(1).id)
    assert snapshot(tmp_path).items() >= before.items()


def test_doing_it_again_takes_nothing(new, join, tmp_path):
    new("A").write_record(cell(), content())
    new("B").write_failure(cell(1), failed("2026-01-01"))
    join("A", "B")
    before = snapshot(tmp_path / "C")
    done = join("A", "B")
    assert (done.records, done.duplicates, done.failures) == (0, 1, 0)
    assert snapshot(tmp_path / "C") == before


def test_equal_numbers_are_duplicates_whatever_they_took(new, join, tmp_path):
    new("A").write_record(cell(), content(host="a", seconds=1.0))
    new("B").write_record(cell(), content(host="b", seconds=9.0))
    done = join("A", "B")
    assert (done.records, done.duplicates, done.conflicts) == (1, 1, [])
    (record,) = Results(tmp_path / "C").records()
    assert record["provenance"]["machine"]["host"] == "a"


@pytest.mark.parametrize("other", [content(90.5, "w"), content(90.0, "v")], ids=["metrics", "bits"])
def test_other_numbers_are_told_and_kept_aside_and_are_no_result(new, join, tmp_path, other):
    new("A").write_record(cell(), content())
    new("B").write_record(cell(), other | {"provenance": content(host="b")["provenance"]})
    new("B").write_record(cell(1), content())
    done = join("A", "B")
    assert (done.records, done.duplicates) == (1, 0)
    (conflict,) = done.conflicts
    assert conflict.id == cell().id
    assert [one.host for one in conflict.versions] == ["a", "b"]
    assert [read_json(path)["metrics"] for path in kept(conflict)] == [
        content()["metrics"],
        other["metrics"],
    ]
    assert all(path.parent == tmp_path / "C" / "conflicts" / cell().id for path in kept(conflict))
    assert ids(Results(tmp_path / "C")) == [cell(1).id]
    assert join("A", "B").conflicts == done.conflicts


def kept(conflict):
    return [merging.Path(version.kept) for version in conflict.versions]


def test_a_record_that_was_there_is_kept_aside_too(new, join, tmp_path):
    joined = new("C")
    joined.write_record(cell(), content(80.0))
    new("A").write_record(cell(), content(90.0))
    (conflict,) = join("A").conflicts
    assert [version.accuracy for version in conflict.versions] == [80.0, 90.0]
    assert ids(joined) == []


def test_two_equal_ones_against_a_third_are_two_versions(new, join):
    for name, accuracy in (("A", 90.0), ("B", 91.0), ("D", 90.0)):
        new(name).write_record(cell(), content(accuracy))
    (conflict,) = join("A", "B", "D").conflicts
    assert [version.accuracy for version in conflict.versions] == [90.0, 91.0]


def test_a_conflict_is_settled_by_the_record_that_is_copied_back(new, join, tmp_path):
    new("A").write_record(cell(), content(90.0))
    new("B").write_record(cell(), content(91.0))
    (conflict,) = join("A", "B").conflicts
    shutil.copy(conflict.versions[1].kept, tmp_path / "C" / "records" / f"{cell().id}.json")
    settled = Results(tmp_path / "C")
    for _ in range(2):
        (record,) = settled.records()
        assert record["metrics"]["accuracy"] == 91.0
        again = join("A", "B")
        assert (again.conflicts, again.records, again.duplicates) == ([], 0, 0)
    settled.write_record(cell(), content(92.0))  # computed anew
    assert join("B", "A").conflicts == []
    new("A").write_record(cell(), content(93.0))
    (conflict,) = join("A", "B").conflicts
    assert [version.accuracy for version in conflict.versions] == [92.0, 93.0, 91.0]
    assert ids(settled) == []


def test_a_damaged_record_of_a_source_is_left_out_and_not_touched(new, join, tmp_path, warnings):
    a, b = new("A"), new("B")
    for results in (a, b):
        results.write_record(cell(), content())
    path = a.folder / "records" / f"{cell().id}.json"
    path.write_text("{")
    done = join("A", "B")
    assert done.damaged == [str(path)]
    assert "Left out" in warnings[0]
    assert path.read_text() == "{"
    assert ids(Results(tmp_path / "C")) == [cell().id]


def test_a_damaged_record_that_is_in_the_way_is_replaced(new, join, tmp_path):
    joined = new("C")
    joined.write_record(cell(), content())
    (joined.folder / "records" / f"{cell().id}.json").write_text("{")
    new("A").write_record(cell(), content(91.0))
    assert join("A").records == 1
    assert joined.record(cell().id)["metrics"]["accuracy"] == 91.0


def test_the_newest_failure_is_taken_where_no_folder_has_a_record(new, join, tmp_path):
    a, b = new("A"), new("B")
    a.write_failure(cell(0), failed("2026-01-02", "newest"))
    b.write_failure(cell(0), failed("2026-01-01", "older"))
    a.write_failure(cell(1), failed("2026-01-01"))
    b.write_record(cell(1), content())
    assert join("B", "A").failures == 1
    (failure,) = Results(tmp_path / "C").failures()
    assert (failure["id"], failure["message"]) == (cell(0).id, "newest")
    b.write_failure(cell(0), failed("2026-01-03", "of today"))
    assert join("B", "A").failures == 1
    (failure,) = Results(tmp_path / "C").failures()
    assert failure["message"] == "of today"


def test_a_cell_in_conflict_has_no_failure(new, join, tmp_path):
    for name, accuracy in (("A", 90.0), ("B", 91.0)):
        new(name).write_record(cell(), content(accuracy))
    new("D").write_failure(cell(), failed("2026-01-01"))
    assert join("A", "B", "D").failures == 0


def test_plans_come_along(new, join, tmp_path):
    plan = Plan((cell(), cell(1)))
    new("A").save_plan(plan)
    assert join("A").plans == 1
    assert Plan.read(tmp_path / "C" / "plans" / f"{plan.id}.json") == plan


def test_names_of_data_sets_come_along_and_those_left_out_are_told(new, join, tmp_path, warnings):
    for name, called in (("A", "a = 'One'"), ("B", "a = 'Two'\nb = 'Three'")):
        (new(name).folder / NAMES).write_text(called)
    join("A", "B")
    assert read_names(tmp_path / "C", pytest.fail) == {"a": "One"}
    (told,) = warnings
    assert "has no name for b." in told
    assert str(tmp_path / "B" / NAMES) in told


def save(results, name, value):
    results.artefacts.save(name, {"x": np.full(3, value)}, {"schema": 1, "costs": {}})


def test_artefacts_come_along_and_are_whole(new, join, tmp_path, warnings):
    a, b = new("A"), new("B")
    save(a, "bins-2-one", 1)
    save(b, "bins-2-one", 1)
    save(b, "bins-2-two", 2)
    done = join("A", "B")
    assert (done.artefacts, done.other_artefacts) == (2, [])
    loaded = Results(tmp_path / "C", warnings.append).artefacts.load("bins-2-two")
    assert loaded.arrays["x"].tolist() == [2, 2, 2]
    assert warnings == []
    assert join("A", "B").artefacts == 0


def test_artefacts_with_other_bytes_are_told_and_the_first_stays(new, join, tmp_path):
    for value, name in enumerate("AB"):
        save(new(name), "bins-2-one", value)
    assert join("A", "B").other_artefacts == ["bins-2-one"]
    assert Results(tmp_path / "C").artefacts.load("bins-2-one").arrays["x"].tolist() == [0, 0, 0]


def test_a_damaged_artefact_is_left_out(new, join, tmp_path, warnings):
    for name in "AB":
        save(new(name), "bins-2-one", 1)
    (tmp_path / "A" / "artefacts" / "bins-2-one" / "manifest.json").unlink()
    done = join("A", "B")
    assert (done.artefacts, len(done.damaged), len(warnings)) == (1, 1, 1)
    assert Results(tmp_path / "C").artefacts.load("bins-2-one") is not None


def test_what_others_are_writing_just_now_and_what_was_set_aside_stays_out(new, join, tmp_path):
    a = new("A")
    a.write_record(cell(), content())
    for name in (f".{cell(1).id}.json.0.tmp", f"{cell(1).id}.json.damaged-0"):
        (a.folder / "records" / name).write_text("half")
    (a.folder / "artefacts" / ".bins-2-one.0.tmp").mkdir(parents=True)
    (a.folder / "artefacts" / "bins-2-one.damaged-0").mkdir()
    done = join("A")
    assert (done.records, done.artefacts, done.damaged) == (1, 0, [])
    assert os.listdir(tmp_path / "C" / "records") == [f"{cell().id}.json"]


def test_a_file_takes_no_second_place_on_the_same_disk(new, join, tmp_path):
    new("A").write_record(cell(), content())
    join("A")
    places = [tmp_path / name / "records" / f"{cell().id}.json" for name in "AC"]
    assert places[0].samefile(places[1])


def test_where_links_are_not_possible_files_are_copied(new, join, tmp_path, monkeypatch):
    def refuse(*paths):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    a = new("A")
    a.write_record(cell(), content())
    save(a, "bins-2-one", 1)
    join("A")
    shutil.rmtree(a.folder)
    joined = Results(tmp_path / "C")
    assert ids(joined) == [cell().id]
    assert joined.artefacts.load("bins-2-one") is not None


def test_computing_a_cell_anew_in_one_folder_changes_no_other(new, join, tmp_path):
    a = new("A")
    a.write_record(cell(), content(90.0))
    join("A")
    Results(tmp_path / "C").write_record(cell(), content(50.0))
    assert a.record(cell().id)["metrics"]["accuracy"] == 90.0


def test_records_of_the_first_schema_are_taken_and_compared(new, join, tmp_path):
    a, b = new("A"), new("B")
    written = b.write_record(cell(), content())
    first = {**written, "schema": 1, "seeded": True}
    del first["method"]
    write_json(a.folder / "records" / f"{cell().id}.json", first)
    done = join("A", "B")
    assert (done.records, done.duplicates) == (1, 1)
    assert Results(tmp_path / "C").record(cell().id)["method"]["seeded"] is True


def test_a_record_of_a_newer_schema_ends_it_with_a_clear_word(new, join):
    a = new("A")
    path = a.folder / "records" / f"{cell().id}.json"
    write_json(path, {"schema": 99, "id": cell().id})
    with pytest.raises(StorageError, match=r"newer bench .schema 99"):
        join("A")


@pytest.mark.parametrize(
    ("sources", "into", "words"),
    [
        (["A", "A"], "C", "named twice"),
        (["A"], "A", "named twice"),
        (["A", "../nowhere"], "C", "is no results folder"),
    ],
)
def test_wrong_use_is_told_before_anything_is_written(new, join, tmp_path, sources, into, words):
    new("A").write_record(cell(), content())
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match=words):
        join(*sources, into=into)
    assert snapshot(tmp_path) == before


def test_a_folder_with_other_files_is_not_filled(new, join, tmp_path):
    new("A")
    (tmp_path / "C").mkdir()
    (tmp_path / "C" / "thesis.tex").write_text("important")
    with pytest.raises(StorageError, match="is no results folder"):
        join("A")
