"""Records of every schema: older ones upgraded, newer ones refused, others told as damaged."""

from __future__ import annotations

import pytest

from bench.errors import DamagedFileError, StorageError
from bench.records import RECORD_SCHEMA, read_record, upgraded
from bench.results import Results, flat
from bench.storage import read_json, write_json

ID = "cell-1-46dee7be194779030174"


def first(**changes):
    """A record as the first bench wrote it: no section on the method, budgets without ``of``."""
    cell = {
        "identity_version": 1,
        "dataset": {"name": "digits", "version": 1, "parameters": {}, "fingerprint": "f"},
        "method": {"name": "adq", "version": 1, "parameters": {"alpha": 0.5}},
        "budget": {"percent": "10"},
        "selection_seed": 1,
        "model": {"name": "resnet8", "version": 1, "parameters": {"width": 16}},
        "protocol": {"name": "smoke", "version": 1, "parameters": {"epochs": 30}},
        "training_seed": 1,
    }
    record = {
        "schema": 1,
        "id": ID,
        "cell": cell,
        "specs": {"dataset": "digits", "method": "adq", "model": "resnet8", "protocol": "smoke"},
        "seeded": True,
        "metrics": {"accuracy": 90.0, "best_accuracy": 91.0, "epoch": 30},
        "compressed": {"images": 144, "bytes": 9360, "full_images": 1437, "full_bytes": 93405},
        "model": {"parameters": 78042},
        "cost": {
            "selection_s": 0.5,
            "training_s": 2.0,
            "testing_s": 0.25,
            "total_s": 2.75,
            "steps": 150,
            "images_seen": 4320,
            "artefacts": {},
        },
        "weights_digest": "w",
        "provenance": {"device": {"device": "cpu"}, "source": {"digest": "d"}},
    }
    return record | changes


def named(name):
    """A cell of the first schema with another method."""
    return {**first()["cell"], "method": {"name": name, "version": 1, "parameters": {}}}


def without(record, *keys):
    return {key: value for key, value in record.items() if key not in keys}


def test_a_record_of_the_first_schema_is_read_as_one_of_this(tmp_path):
    results = Results(tmp_path)
    write_json(tmp_path / "records" / f"{ID}.json", first())
    (record,) = results.records()
    assert record["schema"] == RECORD_SCHEMA
    assert record["written_in_schema"] == 1
    assert record["id"] == ID
    row = flat(record)
    known = {"of": "images", "edition": "paper", "reconstruction": False, "seeded": True}
    assert row.items() >= {**known, "accuracy": 90.0, "percent": 10.0, "method": "adq"}.items()
    assert read_json(tmp_path / "records" / f"{ID}.json") == first()  # its file stays as it was


def test_what_was_not_recorded_is_none_and_what_was_the_only_kind_is_told():
    record = upgraded(first())
    assert record["cost"]["share_of_peak"] is None
    assert record["cost"]["training_s"] == 2.0
    assert record["model"]["operations_per_image"] is None
    assert record["compressed"]["content"] == "selected"
    assert record["compressed"]["labels"] == "hard"
    assert record["method"]["title"] is None
    assert record["method"]["keeps"] == "images"


def test_what_a_record_of_the_first_schema_does_tell_stays():
    method = {"seeded": False, "edition": "released", "reconstruction": True, "keeps": "bytes"}
    cell = first()["cell"] | {"budget": {"percent": "10", "of": "bytes"}}
    told = first(method=method, cell=cell, cost={**first()["cost"], "share_of_peak": 0.5})
    record = upgraded(told)
    assert record["method"].items() >= method.items()
    assert record["cell"]["budget"]["of"] == "bytes"
    assert record["cost"]["share_of_peak"] == 0.5


@pytest.mark.parametrize(("name", "seeded"), [("full", False), ("random", True)])
def test_the_very_first_records_did_not_tell_whether_the_method_is_seeded(name, seeded):
    record = upgraded(without(first(cell=named(name)), "seeded"))
    assert record["method"]["seeded"] is seeded
    assert upgraded(first(cell=named(name), seeded=False))["method"]["seeded"] is False


def test_upgrading_changes_nothing_that_was_given():
    given = first()
    upgraded(given)
    assert given == first()


def test_a_record_of_this_schema_is_not_touched():
    record = upgraded(first())
    assert upgraded(record) is record


def test_a_failure_of_the_first_schema_is_read_too(tmp_path):
    failure = without(first(), "metrics", "compressed", "model", "cost", "weights_digest")
    failure |= {"attempt": 2, "phase": "training", "type": "ValueError", "message": "no"}
    write_json(tmp_path / "failures" / f"{ID}.json", failure)
    (read,) = Results(tmp_path).failures()
    assert read["cell"]["budget"]["of"] == "images"
    assert read["method"]["reconstruction"] is False
    assert "cost" not in read


def test_a_record_of_a_newer_schema_is_refused_and_stays_where_it_is(tmp_path):
    path = tmp_path / "records" / f"{ID}.json"
    write_json(path, first(schema=RECORD_SCHEMA + 1))
    warnings = []
    words = rf"{ID}.json was written by a newer bench .schema 3, this one reads 2.* Update bench"
    for read in (Results(tmp_path, warnings.append).record, lambda name: read_record(path)):
        with pytest.raises(StorageError, match=words):
            read(ID)
    assert path.exists()
    assert warnings == []


@pytest.mark.parametrize(
    "content",
    [
        without(first(), "schema"),
        without(first(), "cell"),
        first(schema="one"),
        first(cell=[]),
        first(cost=3),
    ],
)
def test_a_whole_file_that_is_no_record_is_told_as_damaged(tmp_path, content):
    path = tmp_path / f"{ID}.json"
    write_json(path, content)
    with pytest.raises(DamagedFileError, match=f"{ID}.json is damaged: it is no record"):
        read_record(path)


def test_a_folder_of_an_older_bench_is_taken_over_so_that_that_one_refuses_it(tmp_path):
    write_json(tmp_path / "bench-results.json", {"schema": 1, "id": "bench-results"})
    Results(tmp_path).prepare()
    assert read_json(tmp_path / "bench-results.json")["schema"] == RECORD_SCHEMA
