"""Results: a valid record is completion, a failure is never a result, damage is never silent."""

from __future__ import annotations

import os
import shutil
import threading

import pytest

import bench.results
from bench.budgets import Budget
from bench.cells import Cell, Plan
from bench.contract import METHODS
from bench.data_names import NAMES
from bench.datasets import DATASETS
from bench.errors import BenchError, DataError, FolderError, StorageError
from bench.identity import cell_id
from bench.models import MODELS
from bench.protocols import PROTOCOLS
from bench.results import Results, identities, load
from bench.storage import write_json


def cell(method="random", percent="10", seed=0) -> Cell:
    return Cell(
        dataset=DATASETS.make_one("digits"),
        fingerprint="f",
        method=METHODS.make_one(method),
        budget=Budget.parse(percent),
        selection_seed=seed,
        model=MODELS.make_one("resnet8"),
        protocol=PROTOCOLS.make_one("smoke"),
        training_seed=seed,
    )


def content(accuracy=90.0):
    """What a run hands over, as bench.execution makes it."""
    return {
        "metrics": {"accuracy": accuracy, "best_accuracy": accuracy + 1, "epoch": 30},
        "compressed": {"images": 144, "bytes": 9360, "full_images": 1437, "full_bytes": 93405},
        "cost": {
            "selection_s": 0.5,
            "training_s": 2.0,
            "testing_s": 0.25,
            "steps": 150,
            "images_seen": 4320,
        },
        "provenance": {"device": {"device": "cpu"}, "source": {"digest": "d"}},
    }


FAILURE = {"phase": "training", "type": "TrainingError", "message": "the loss is not finite"}


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def results(tmp_path, warnings):
    return Results(tmp_path / "results", warnings.append)


# records


def test_a_record_is_read_as_it_was_written(results, warnings):
    one = cell()
    written = results.write_record(one, content())
    assert results.record(one.id) == written
    assert written["metrics"]["accuracy"] == 90.0
    assert Cell.from_identity(written["cell"]) == one
    assert cell_id(written["cell"]) == written["id"] == one.id
    assert warnings == []


def test_a_cell_without_a_record_has_none(results, warnings):
    assert results.record(cell().id) is None
    assert list(results.records()) == []
    assert list(results.failures()) == []
    assert warnings == []


def test_all_records_or_those_of_some_cells_are_read_in_one_order(results):
    cells = [cell(seed=seed) for seed in range(4)]
    for one in reversed(cells):
        results.write_record(one, content())
    ids = sorted(one.id for one in cells)
    assert [record["id"] for record in results.records()] == ids
    some = [cells[0].id, cells[2].id, cell("dq").id]
    assert [record["id"] for record in results.records(some)] == sorted(some[:2])


def test_another_worker_sees_a_record_at_once(results):
    other = Results(results.folder)
    assert other.record(cell().id) is None
    results.write_record(cell(), content())
    assert other.record(cell().id) is not None


@pytest.mark.parametrize("damage", ["", "{", '{"metrics": {}}', None])
def test_a_damaged_record_is_set_aside_and_reported(results, warnings, damage):
    one, other = cell(), cell(seed=1)
    results.write_record(one, content())
    results.write_record(other, content())
    path = results.folder / "records" / f"{one.id}.json"
    path.write_text(path.read_text().replace("90.0", "99.9") if damage is None else damage)
    assert results.record(one.id) is None
    (warning,) = warnings
    assert str(path) in warning
    assert "damaged" in warning
    assert "computed anew" in warning
    (aside,) = (results.folder / "records").glob("*damaged*")
    assert aside.name in warning
    assert [record["id"] for record in results.records()] == [other.id]
    results.write_record(one, content())
    assert results.record(one.id) is not None
    assert len(warnings) == 1


def test_a_damaged_record_that_another_worker_has_just_set_aside_is_no_error(results, warnings):
    one = cell()
    results.write_record(one, content())
    path = results.folder / "records" / f"{one.id}.json"
    path.write_text("")
    readers = [threading.Thread(target=results.record, args=(one.id,)) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert results.record(one.id) is None
    assert warnings


def test_a_record_that_cannot_be_read_is_told(results):
    (results.folder / "records" / f"{cell().id}.json").mkdir(parents=True)
    with pytest.raises(BenchError, match=r"cannot read .*cell-.*: Is a directory"):
        results.record(cell().id)


# failures


def test_a_failure_is_read_as_it_was_written_and_is_no_record(results):
    one = cell()
    written = results.write_failure(one, FAILURE)
    assert results.failure(one.id) == written
    assert written.items() >= FAILURE.items()
    assert written["cell"] == one.identity()
    assert results.record(one.id) is None
    assert list(results.records()) == []
    assert list(results.failures()) == [written]


def test_attempts_are_counted(results):
    attempts = [results.write_failure(cell(), FAILURE)["attempt"] for _ in range(3)]
    assert attempts == [1, 2, 3]
    assert results.write_failure(cell(seed=1), FAILURE)["attempt"] == 1


def test_the_folders_name_of_a_data_set_comes_with_records_and_is_not_stored(results):
    named, path = cell(), results.folder / "names.toml"
    results.write_record(named, content())
    assert "data_name" not in next(iter(results.records()))
    fingerprint = named.identity()["dataset"]["fingerprint"]
    path.write_text(f'"{fingerprint}" = "My digits"', encoding="utf-8")
    for ids in (None, [named.id]):
        (record,) = Results(results.folder).records(ids)
        assert (record["id"], record["data_name"]) == (named.id, "My digits")
    assert "data_name" not in Results(results.folder).record(named.id)


def test_a_record_ends_the_failures_of_its_cell(results):
    results.write_failure(cell(), FAILURE)
    results.write_failure(cell(seed=1), FAILURE)
    results.write_record(cell(), content())
    assert results.failure(cell().id) is None
    assert [failure["id"] for failure in results.failures()] == [cell(seed=1).id]
    assert results.write_failure(cell(), FAILURE)["attempt"] == 1


def test_a_failure_beside_a_record_is_not_reported(results):
    """A worker may die after writing a record, or a second one fail where the first was done."""
    results.write_record(cell(), content())
    results.write_failure(cell(), FAILURE)
    assert list(results.failures()) == []
    assert list(results.failures([cell().id])) == []


def test_a_damaged_failure_is_set_aside_and_reported(results, warnings):
    results.write_failure(cell(), FAILURE)
    (results.folder / "failures" / f"{cell().id}.json").write_text("{")
    assert list(results.failures()) == []
    assert len(warnings) == 1


def test_a_record_ends_the_checkpoint_of_its_cell_and_of_no_other(results):
    for one in (cell(), cell(seed=1)):
        write_json(results.checkpoint(one.id).folder / "newest.json", {"epoch": 3})
    results.write_record(cell(), content())
    assert not results.checkpoint(cell().id).folder.exists()
    assert results.checkpoint(cell(seed=1).id).folder.exists()


# one tidy table


def test_the_table_has_a_row_for_each_record_and_a_column_for_each_fact(results):
    results.write_record(cell("adq[alpha=0.7]", "12.50", seed=1), content(91.0))
    results.write_record(cell("random", "10"), content(80.0))
    results.write_failure(cell("random", "20"), FAILURE)
    frame = load(results.folder).set_index("method").sort_index()
    assert frame.index.tolist() == ["adq[alpha=0.7]", "random"]
    assert frame["percent"].tolist() == [12.5, 10.0]
    assert frame["accuracy"].tolist() == [91.0, 80.0]
    adq = frame.loc["adq[alpha=0.7]"]
    assert adq.to_dict() == {
        "id": cell("adq[alpha=0.7]", "12.5", seed=1).id,
        "dataset": "digits",
        "fingerprint": "f",
        "percent": 12.5,
        "model": "resnet8",
        "protocol": "smoke",
        "selection_seed": 1,
        "training_seed": 1,
        "accuracy": 91.0,
        "best_accuracy": 92.0,
        "images": 144,
        "bytes": 9360,
        "shared_bytes": 0,
        "full_images": 1437,
        "full_bytes": 93405,
        "steps": 150,
        "images_seen": 4320,
        "selection_s": 0.5,
        "training_s": 2.0,
        "testing_s": 0.25,
        "device": "cpu",
        "source_digest": "d",
        "seeded": True,
        "edition": "paper",
        "reconstruction": False,
        "of": "images",
        **identities(cell("adq[alpha=0.7]", "12.5", seed=1).identity()),
    }


def test_numbers_are_numbers_in_the_table(results):
    results.write_record(cell(), content(80))
    frame = load(results.folder)
    columns = ["percent", "accuracy", "images", "selection_seed", "training_s"]
    assert all(frame[column].dtype.kind in "if" for column in columns)


def test_the_table_can_be_of_some_cells_only(results):
    for seed in range(3):
        results.write_record(cell(seed=seed), content(80.0 + seed))
    assert load(results.folder, [cell(seed=1).id])["accuracy"].tolist() == [81.0]


def test_a_folder_without_records_gives_an_empty_table(tmp_path):
    assert len(load(tmp_path / "none")) == 0


# the folder


def test_a_new_folder_is_made_and_known_again(tmp_path):
    folder = tmp_path / "deep" / "results"
    Results(folder).prepare()
    Results(folder).write_record(cell(), content())
    Results(folder).prepare()
    assert Results(folder).record(cell().id) is not None


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "results").mkdir()
    Results(tmp_path / "results").prepare()


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(StorageError, match=r"has files but is no results folder.*--results"):
        Results(tmp_path).prepare()
    with pytest.raises(StorageError, match="is no results folder"):
        Results(tmp_path).check()
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_names_of_data_sets_may_be_there_before_the_first_run(tmp_path):
    (tmp_path / NAMES).write_text('f = "Digits"\n')
    refused(Results(tmp_path), Plan((cell(),)), DataError("no data"))
    assert os.listdir(tmp_path) == [NAMES]
    Results(tmp_path).prepare()
    Results(tmp_path).write_record(cell(), content())


def test_a_mark_that_another_run_is_just_taking_back_is_no_foreign_file(results, monkeypatch):
    def taking_back(folder):
        found = inside(folder)
        (folder / "bench-results.json").unlink(missing_ok=True)
        return found

    results.prepare()
    inside = bench.results._inside
    monkeypatch.setattr(bench.results, "_inside", taking_back)
    results.check()


def test_a_file_in_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "results").write_text("")
    results = Results(tmp_path / "results")
    assert results.record(cell().id) is None
    with pytest.raises(StorageError, match=r"is a file. Name a folder with --results"):
        results.prepare()


def test_a_folder_of_a_newer_bench_is_refused(results):
    results.prepare()
    write_json(results.folder / "bench-results.json", {"schema": 99, "id": "bench-results"})
    with pytest.raises(StorageError, match=r"newer bench .schema 99.*Update bench or name another"):
        results.prepare()


def test_a_damaged_mark_is_set_aside_and_the_records_stay(results, warnings):
    results.prepare()
    results.write_record(cell(), content())
    (results.folder / "bench-results.json").write_text("{")
    results.prepare()
    assert len(warnings) == 1
    results.prepare()
    assert len(warnings) == 1
    assert results.record(cell().id) is not None


def test_many_workers_may_make_the_folder_at_once(tmp_path):
    folder, errors = tmp_path / "results", []

    def prepare(barrier):
        barrier.wait()
        try:
            Results(folder).prepare()
        except BenchError as error:
            errors.append(error)

    for _ in range(20):
        barrier = threading.Barrier(4)
        workers = [threading.Thread(target=prepare, args=(barrier,)) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        shutil.rmtree(folder)
    assert errors == []


def refused(results, plan, error, made=lambda: None):
    """Have a block refused that has prepared a results folder and kept a plan in it."""

    def block():
        with results.as_before_if_refused():
            results.prepare()
            results.save_plan(plan)
            made()
            raise error

    with pytest.raises(type(error)):
        block()


def test_what_is_refused_before_any_cell_ended_leaves_nothing(tmp_path):
    plan, folder = Plan((cell(), cell(seed=1))), tmp_path / "deep" / "results"

    def left(made=lambda: None):
        refused(Results(folder), plan, DataError("no data"), made)
        return {path.name for path in tmp_path.rglob("*")}

    assert left() == set()
    assert left((folder / "leases").mkdir) == set()
    folder.mkdir(parents=True)
    assert left() == {"deep", "results"}  # they were there before
    of_another_run = folder / "plans" / "plan-2-other.json"
    assert left(of_another_run.touch) == {
        "deep", "results", "bench-results.json", "plans", of_another_run.name,
    }  # fmt: skip


def test_a_folder_that_is_refused_is_not_left_either(tmp_path, monkeypatch):
    def full(folder):
        folder.mkdir()
        raise StorageError("disk full")

    monkeypatch.setattr("bench.results.require_writable", full)
    refused(Results(tmp_path / "results"), Plan((cell(),)), FolderError("disk full"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused_later_or_was_there_stays(results):
    plan = Plan((cell(), cell(seed=1)))

    def is_kept(error, made=lambda: None):
        refused(results, plan, error, made)
        return bool(list((results.folder / "plans").glob("*")))

    assert is_kept(StorageError("disk full"))  # cells may have begun
    assert is_kept(DataError("it was there before"))
    path = results.save_plan(plan)
    path.unlink()
    assert is_kept(DataError("after a cell"), lambda: results.write_record(cell(), content()))


def test_a_cell_that_ended_before_a_refused_block_keeps_no_plan_of_it(results):
    results.prepare()
    results.write_record(cell(), content())
    refused(results, Plan((cell(), cell(seed=1))), DataError("no data"))
    assert not (results.folder / "plans").exists()


def test_a_plan_that_another_process_saved_meanwhile_stays(results):
    """As when two submit one sweep: the second one waits for its turn, and then Slurm is silent."""
    plan = Plan((cell(),))

    def block():
        with results.as_before_if_refused():
            Results(results.folder).save_plan(plan)
            results.save_plan(plan)
            raise DataError("Slurm is silent")

    with pytest.raises(DataError):
        block()
    assert Plan.read(results.folder / "plans" / f"{plan.id}.json") == plan


def test_a_plan_is_kept_under_its_id(results):
    plan = Plan((cell(), cell(seed=1)))
    path = results.save_plan(plan)
    assert results.save_plan(plan) == path
    assert path.stem == plan.id
    assert Plan.read(path) == plan
