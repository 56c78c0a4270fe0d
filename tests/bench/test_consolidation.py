"""Consolidated records: quick, never the truth, left out wherever they differ from the files."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import consolidation
from bench.errors import StorageError
from bench.records import RECORD_SCHEMA
from bench.results import Results, flat, load
from bench.storage import write_json

COUNT = 25


def record(number, accuracy=None):
    """A small record; every third one has the same method and compressed set."""
    method = {"name": "dq", "version": 1, "parameters": {"bins": number % 3}}
    return {
        "schema": RECORD_SCHEMA,
        "id": f"cell-2-{number:03}",
        "specs": {"dataset": "d", "method": "dq", "model": "m", "protocol": "p"},
        "method": {"seeded": True, "edition": "paper", "reconstruction": False},
        "cell": {
            "dataset": {"name": "d", "fingerprint": "f"},
            "method": method,
            "budget": {"percent": "10", "of": "images"},
            "selection_seed": 0,
            "model": {"name": "m"},
            "protocol": {"name": "p"},
            "training_seed": number,
        },
        "metrics": {
            "accuracy": float(number) if accuracy is None else accuracy,
            "best_accuracy": 99.5,
            "per_class_accuracy": {"cat": 100 / (number + 1)},
            "curve": {"train_loss": [0.5, number / 7], "accuracy": {"1": 12.5}},
        },
        "compressed": {"images": 3, "bytes": 4, "full_images": 5, "full_bytes": 6, "notes": {}},
        "cost": {
            "selection_s": 0.1,
            "training_s": 0.2,
            "testing_s": 0.3,
            "steps": 4,
            "images_seen": 5,
            "calibration": None,
            "artefacts": {f"bins-{number % 3}": {"kind": "bins", "seconds": 1.5}},
        },
        "provenance": {"device": {"device": "cpu"}, "source": {"digest": "x"}},
    }  # fmt: skip


def path_of(folder, number):
    return folder / "records" / f"cell-2-{number:03}.json"


def write(folder, number, accuracy=None):
    write_json(path_of(folder, number), record(number, accuracy))


def move_back(folder):
    """Make all files a minute older: what is written from now on has another time."""
    for path in (folder / "records").iterdir():
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - 60 * 10**9))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A results folder whose records are consolidated, ten to a chunk."""
    monkeypatch.setattr(consolidation, "LEAST", 10)
    monkeypatch.setattr(consolidation, "_CHUNK", 10)
    for number in range(COUNT):
        write(tmp_path, number)
    move_back(tmp_path)
    list(Results(tmp_path).records())
    assert (tmp_path / "consolidated.zip").exists()
    return tmp_path


@pytest.fixture
def read(folder, monkeypatch):
    """Return a function that reads all records, and the ids of those read from their own files."""

    def all_records(ids=None):
        results, warnings, files = Results(folder, lambda told: warnings.append(told)), [], []
        one = results.record
        monkeypatch.setattr(
            results._consolidation, "_read", lambda name: files.append(name) or one(name)
        )
        return list(results._consolidation.records(ids)), files, warnings

    return all_records


def everything():
    return [record(number) for number in range(COUNT)]


def test_records_come_from_the_consolidation_as_they_were_written(read):
    assert read() == (everything(), [], [])


def test_readers_that_want_no_details_get_everything_else(folder):
    plain = everything()
    for one in plain:
        del one["metrics"]["curve"], one["metrics"]["per_class_accuracy"]
        one["metrics"]["tested_epochs"] = 1
    assert list(Results(folder).records(details=False)) == plain


def test_few_records_are_not_consolidated(tmp_path):
    write(tmp_path, 1)
    assert list(Results(tmp_path).records()) == [record(1)]
    assert os.listdir(tmp_path) == ["records"]


def test_a_folder_without_records_has_none(tmp_path):
    assert list(Results(tmp_path).records()) == []
    (tmp_path / "records").write_text("")
    assert list(Results(tmp_path).records()) == []


def test_a_new_record_is_read_from_its_file(folder, read):
    write(folder, 500)
    records, files, _ = read()
    assert records == [*everything(), record(500)]
    assert files == ["cell-2-500"]


def test_a_record_that_is_gone_is_gone(folder, read):
    path_of(folder, 3).unlink()
    records, files, _ = read()
    assert [one["id"] for one in records] == [
        one["id"] for one in everything() if one["id"][-3:] != "003"
    ]
    assert files == []


def test_a_record_that_was_computed_anew_is_read_anew(folder, read):
    write(folder, 3, accuracy=9.0)
    records, files, _ = read()
    assert records[3]["metrics"]["accuracy"] == 9.0
    assert files == ["cell-2-003"]


def test_a_record_that_is_damaged_since_is_set_aside_and_told(folder, read):
    path = path_of(folder, 3)
    path.write_text(path.read_text().replace("99.5", "11.5"))
    records, _, warnings = read()
    assert len(records) == COUNT - 1
    assert "cell-2-003.json is damaged" in warnings[0]


def test_some_records_only(read):
    wanted = {"cell-2-002", "cell-2-011", "cell-2-900"}
    records, files, _ = read(wanted)
    assert records == [record(2), record(11)]
    assert files == []


def test_many_ids_are_read_from_the_consolidation(folder):
    ids = [f"cell-2-{number:03}" for number in range(5, 17)]
    assert [one["id"] for one in Results(folder).records(ids)] == ids
    assert load(folder, ids)["training_seed"].tolist() == list(range(5, 17))


def test_many_new_records_make_it_anew(folder, read):
    for number in range(500, 512):
        write(folder, number)
    move_back(folder)
    records, files, _ = read()  # all files have other times: each is read once
    assert len(files) == len(records) == COUNT + 12
    assert read() == (records, [], [])


DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "no zip": lambda content: b"x" * 1000,
    "first byte": lambda content: bytes([content[0] ^ 1]) + content[1:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_consolidation_is_told_left_out_and_made_anew(folder, read, damage):
    path = folder / "consolidated.zip"
    path.write_bytes(damage(path.read_bytes()))
    records, _, warnings = read()
    assert records == everything()
    assert any("consolidated.zip cannot be used" in told for told in warnings)
    assert read()[0] == everything()  # where damage showed in the midst, this one writes it anew
    assert read() == (everything(), [], [])


@given(place=st.floats(0, 0.999), bit=st.integers(0, 7))
def test_no_damaged_bit_changes_a_record(tmp_path_factory, place, bit):
    folder = tmp_path_factory.mktemp("damaged")
    least, consolidation.LEAST = consolidation.LEAST, 3
    try:
        for number in range(4):
            write(folder, number)
        list(Results(folder).records())
        path = folder / "consolidated.zip"
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 1 << bit
        path.write_bytes(content)
        assert list(Results(folder).records()) == [record(number) for number in range(4)]
    finally:
        consolidation.LEAST = least


@pytest.mark.parametrize("name", ["_FORMAT", "RECORD_SCHEMA"])
def test_one_of_another_format_or_schema_is_made_anew(folder, read, name, monkeypatch):
    monkeypatch.setattr(consolidation, name, 99)
    records, files, warnings = read()
    assert (records, len(files), warnings) == (everything(), COUNT, [])
    assert read() == (everything(), [], [])


def test_one_of_another_folder_gives_nothing_that_is_not_here(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    write(other, 3, accuracy=1.25)
    (other / "consolidated.zip").write_bytes((folder / "consolidated.zip").read_bytes())
    assert list(Results(other).records()) == [record(3, 1.25)]


def test_where_it_cannot_be_written_records_are_read_all_the_same(tmp_path, monkeypatch):
    def refuse(path):
        raise StorageError("the disk is full")

    monkeypatch.setattr(consolidation, "LEAST", 10)
    monkeypatch.setattr(consolidation, "replacing", refuse)
    for number in range(COUNT):
        write(tmp_path, number)
    assert list(Results(tmp_path).records()) == everything()


def test_a_newer_record_is_refused_whether_or_not_there_is_a_consolidation(folder):
    for number in range(500, 512):
        write_json(path_of(folder, number), record(number) | {"schema": 99})
    with pytest.raises(StorageError, match="newer bench"):
        list(Results(folder).records())


def test_rows_are_the_same_from_files_and_from_the_consolidation(folder):
    from_files = [flat(one) for one in everything()]
    assert [flat(one) for one in Results(folder).records()] == from_files
    ids = {row["method_id"] for row in from_files}
    assert len(ids) == 3


def test_what_records_share_is_held_once(folder):
    records = list(Results(folder).records())
    assert records[0]["cell"]["method"] is records[3]["cell"]["method"]
    assert records[0]["cell"]["method"] is not records[1]["cell"]["method"]
    assert records[0]["cost"]["artefacts"] is records[3]["cost"]["artefacts"]


def test_reading_a_part_leaves_nothing_open(folder):
    reading = Results(folder).records()
    next(reading)
    reading.close()
    (folder / "consolidated.zip").unlink()
    assert list(Results(folder).records()) == everything()
