"""What a method returns: checked against its budget, stored, trained on, accounted for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.budgets import Budget
from bench.contract import CompressedSet, ImageDataset, Keeps
from bench.errors import DataError
from bench.selecting import key_order

TEN = Budget.parse("10")
TEN_OF_BYTES = Budget.parse("10b")


@pytest.fixture
def train():
    """40 grey images of 2 x 3 pixels, 7 bytes each with their label."""
    images = np.arange(40 * 6, dtype=np.uint8).reshape(40, 2, 3, 1)
    labels = np.arange(40) % 4
    return ImageDataset(images, labels, tuple("abcd"), tuple(f"{i:02d}" for i in range(40)))


def synthetic(count, dtype=np.uint8, **changes):
    images = np.full((count, 2, 3, 1), 7.5, dtype)
    labels = np.arange(count) % 4
    return replace(CompressedSet(np.empty(0, np.int64), images, labels), **changes)


SELECTED = CompressedSet(np.array([3, 1, 2, 0]))


@pytest.mark.parametrize(
    "compressed",
    [
        SELECTED,
        replace(SELECTED, images=np.zeros((4, 2, 3, 1), np.uint8), stored_bytes=20, shared_bytes=9),
        synthetic(4),
        synthetic(4, np.float32, notes={"init": "real"}, bin_counts=(1, 3)),
    ],
    ids=["selected", "reconstructed", "synthetic", "floats"],
)
def test_sets_come_back_from_their_arrays_and_can_be_trained_on(compressed, train):
    compressed.check(train, TEN, Keeps.IMAGES)
    back = CompressedSet.from_arrays(compressed.to_arrays())
    trained, again = compressed.training_set(train), back.training_set(train)
    assert back.content == compressed.content
    assert back.accounts(train) == compressed.accounts(train)
    assert (again.images == trained.images).all()
    assert again.images.dtype == trained.images.dtype
    assert again.labels.tolist() == trained.labels.tolist()
    assert len(set(trained.keys)) == 4


def test_accounts_tell_images_bytes_and_classes(train):
    accounts = SELECTED.accounts(train)
    assert (accounts["images"], accounts["bytes"], accounts["full_bytes"]) == (4, 28, 280)
    assert accounts["class_counts"] == [1, 1, 1, 1]
    assert replace(SELECTED, stored_bytes=20).accounts(train)["bytes"] == 20


@pytest.mark.parametrize(
    ("compressed", "problem"),
    [
        (CompressedSet(np.array([], np.int64)), "nothing is kept"),
        (CompressedSet(np.array([0, 1, 2])), "kept 3 images; 10 % of 40 is 4"),
        (CompressedSet(np.array([0, 1, 2, 2])), "twice"),
        (CompressedSet(np.array([0, 1, 2, 40])), "outside 0 to 39"),
        (CompressedSet(np.array([-1, 1, 2, 3])), "outside 0 to 39"),
        (synthetic(4, labels=np.array([0, 1])), "do not belong together"),
        (synthetic(4, indices=np.arange(4)), "do not belong together"),
        (synthetic(4, images=np.zeros((4, 3, 3, 1), np.uint8)), r"made images of \(3, 3, 1\)"),
    ],
)
def test_a_set_that_does_not_fit_is_refused(compressed, problem, train):
    with pytest.raises(DataError, match=problem):
        compressed.check(train, TEN, Keeps.IMAGES)


def test_bytes_may_be_fewer_and_never_more(train):
    for stored in (1, 28):
        for budget in (TEN, TEN_OF_BYTES):
            replace(SELECTED, stored_bytes=stored).check(train, budget, Keeps.BYTES)
    for keeps in (Keeps.BYTES, Keeps.IMAGES):
        with pytest.raises(DataError, match=r"kept 29 bytes; 10 % of bytes .* are 28"):
            replace(SELECTED, stored_bytes=29).check(train, TEN_OF_BYTES, keeps)
    with pytest.raises(DataError, match="kept 29 bytes"):
        replace(SELECTED, stored_bytes=29).check(train, TEN, Keeps.BYTES)


def test_an_edition_may_keep_its_own_count_of_real_images(train):
    CompressedSet(np.arange(7)).check(train, TEN, Keeps.ITS_OWN_COUNT)
    with pytest.raises(DataError, match="twice"):
        CompressedSet(np.array([1, 1])).check(train, TEN, Keeps.ITS_OWN_COUNT)


def test_two_images_with_one_key_are_refused(train):
    with pytest.raises(DataError, match="two images have the key '03'"):
        key_order(replace(train, keys=(*train.keys[:-1], "03")))
