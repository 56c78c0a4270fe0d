"""The store of artefacts: what is loaded is what was saved, or nothing."""

from __future__ import annotations

import os
import resource
import shutil
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench.artefacts import ArtefactStore
from bench.errors import StorageError

DTYPES = [np.bool_, np.uint8, np.int32, np.int64, np.float16, np.float32, np.float64]
ARRAYS = st.dictionaries(
    st.text("abc_.", min_size=1, max_size=5),
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0))
    ),
    max_size=3,
)
MANIFEST = {"schema": 1, "costs": {"x-1": {"kind": "x", "seconds": 0.5}}}


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("artefacts")


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def store(tmp_path, warnings):
    return ArtefactStore(tmp_path / "artefacts", warnings.append)


def same(one, other):
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and one[name].shape == other[name].shape
        and one[name].tobytes() == other[name].tobytes()
        for name in one
    )


@settings(max_examples=50)
@given(arrays=ARRAYS, number=st.integers(0, 10**9))
def test_arrays_and_manifest_are_loaded_as_they_were_saved(shared_folder, arrays, number):
    store = ArtefactStore(shared_folder, warn=pytest.fail)
    shutil.rmtree(shared_folder / "a", ignore_errors=True)
    saved = store.save("a", arrays, {**MANIFEST, "number": number})
    loaded = store.load("a")
    assert same(loaded.arrays, arrays)
    assert same(saved.arrays, arrays)
    assert loaded.manifest == saved.manifest
    assert loaded.manifest["number"] == number
    assert loaded.manifest["costs"] == MANIFEST["costs"]


@pytest.mark.parametrize(
    "array",
    [np.asfortranarray(np.arange(6).reshape(2, 3)), np.arange(10)[::-2], np.eye(3)[:, 1:]],
    ids=["column by column", "backwards", "a part of another"],
)
def test_the_layout_in_memory_is_no_part_of_an_array(store, array):
    store.save("a", {"x": array}, MANIFEST)
    assert np.array_equal(store.load("a").arrays["x"], array)


def test_what_was_never_saved_is_not_there_and_no_reason_to_warn(store, warnings):
    assert store.load("a") is None
    assert not store.has("a")
    assert warnings == []


def test_a_saved_artefact_is_there_for_another_worker(store, tmp_path, warnings):
    store.save("a", {"x": np.arange(3)}, MANIFEST)
    other = ArtefactStore(tmp_path / "artefacts", warnings.append)
    assert other.has("a")
    assert not other.has("b")
    assert other.load("a").arrays["x"].tolist() == [0, 1, 2]
    assert warnings == []


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-8])


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


@pytest.mark.parametrize("damage", [flip, cut, empty, remove])
@pytest.mark.parametrize("part", ["data.safetensors", "manifest.json"])
def test_a_damaged_artefact_is_set_aside_with_a_warning_and_can_be_made_anew(
    store, tmp_path, warnings, part, damage
):
    store.save("a", {"x": np.arange(100)}, MANIFEST)
    damage(tmp_path / "artefacts" / "a" / part)
    assert store.load("a") is None
    assert not store.has("a")
    (warning,) = warnings
    (aside,) = (tmp_path / "artefacts").iterdir()
    assert str(tmp_path / "artefacts" / "a") in warning
    assert "damaged" in warning
    assert aside.name in warning
    store.save("a", {"x": np.arange(100)}, MANIFEST)
    assert store.load("a") is not None
    assert len(warnings) == 1


def test_two_workers_that_find_the_same_damage_are_both_told_that_it_is_not_there(
    store, tmp_path, warnings
):
    store.save("a", {"x": np.arange(100)}, MANIFEST)
    flip(tmp_path / "artefacts" / "a" / "data.safetensors")
    other_warnings = []

    def and_meanwhile_the_other_finds_it(warning):
        other_warnings.append(warning)

    other = ArtefactStore(tmp_path / "artefacts", and_meanwhile_the_other_finds_it)
    threads = [threading.Thread(target=one.load, args=("a",)) for one in (store, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.load("a") is None
    assert warnings or other_warnings


def test_of_two_savers_one_wins_and_the_artefact_is_whole(store, tmp_path, warnings):
    barrier, errors = threading.Barrier(6), []

    def save(number):
        barrier.wait()
        try:
            arrays = {"x": np.full(1000, number), "y": np.full(10, number)}
            store.save("a", arrays, {**MANIFEST, "number": number})
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    loaded = store.load("a")
    numbers = {loaded.manifest["number"], *loaded.arrays["x"], *loaded.arrays["y"]}
    assert len(numbers) == 1
    assert [path.name for path in (tmp_path / "artefacts").iterdir()] == ["a"]
    assert warnings == []


def test_the_artefact_that_was_there_first_stays(store):
    store.save("a", {"x": np.arange(3)}, {**MANIFEST, "number": 1})
    store.save("a", {"x": np.arange(3)}, {**MANIFEST, "number": 2})
    assert store.load("a").manifest["number"] == 1


def test_a_save_that_fails_leaves_nothing_behind(store, tmp_path):
    with pytest.raises(Exception, match="dtype"):
        store.save("a", {"x": np.array(["texts cannot be stored"])}, MANIFEST)
    with pytest.raises(ValueError, match="JSON"):
        store.save("a", {"x": np.arange(3)}, {"seconds": float("nan")})
    assert list((tmp_path / "artefacts").iterdir()) == []
    assert store.load("a") is None


def test_a_store_that_cannot_be_written_is_told(tmp_path, warnings):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*file/artefacts/a"):
        ArtefactStore(tmp_path / "file" / "artefacts", warnings.append).save("a", {}, MANIFEST)


def test_a_write_that_the_system_refuses_is_told_and_leaves_nothing(store, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*a: File too large"):
            store.save("a", {"x": np.arange(1000)}, MANIFEST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((tmp_path / "artefacts").iterdir()) == []


def test_who_may_read_the_manifest_may_read_the_arrays(store, tmp_path):
    before = os.umask(0o027)
    try:
        store.save("a", {"x": np.arange(3)}, MANIFEST)
    finally:
        os.umask(before)
    modes = {
        path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "artefacts/a").iterdir()
    }
    assert modes == {"data.safetensors": 0o640, "manifest.json": 0o640}
