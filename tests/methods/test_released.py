"""Draws and counts of the released codes, against those codes' rules written out plainly."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.budgets import Budget, ClassBudget
from bench.errors import UsageError
from methods.parts.draws import pools_by_label
from methods.parts.released import (
    ADQ_IMPORTANCES,
    ADQ_SEGMENTS,
    adq_segment_counts,
    adq_segments,
    each_rounded,
    fraction_of,
    released_draw,
)
from methods.parts.texture import texture_level


@pytest.fixture
def global_state():
    """Let a reference use numpy's global generator, and put it back."""
    before = np.random.get_state()
    yield np.random
    np.random.set_state(before)


def uniform_py(bins, labels, fraction, seed, random):
    """What DQ's quantize_bin.py and uniform.py do: a seed a bin, a choice a class."""
    kept = []
    for members in bins:
        random.seed(seed)
        for label in range(labels.max() + 1):
            places = np.flatnonzero(labels[members] == label)
            kept.append(members[random.choice(places, round(fraction * len(places)), False)])
    return np.concatenate(kept)


def adaptive_py(size, fraction, seed, random):
    """What ADQ's adaptive.py does with a bin of 5,000: places within the bin."""
    random.seed(seed)
    weights = [a * b for a, b in zip(ADQ_SEGMENTS, ADQ_IMPORTANCES, strict=True)]
    kept, start = [], 0
    for length, weight in zip(ADQ_SEGMENTS, weights, strict=True):
        count = round(weight / sum(weights) * int(fraction * size))
        kept.append(random.choice(np.arange(start, start + length), count, False))
        start += length
    return np.concatenate(kept)


def cifar_shaped_bins(shuffled=False):
    """Ten bins of ten classes with 500 images each, class by class, and the labels."""
    labels = np.arange(50000) % 10
    if shuffled:
        labels = np.random.default_rng(0).permutation(labels)
    of_class = np.stack([np.flatnonzero(labels == label) for label in range(10)])
    return list(of_class.reshape(10, 10, 500).transpose(1, 0, 2).reshape(10, 5000)), labels


@given(st.lists(st.integers(0, 1500), min_size=1, max_size=8), st.integers(0, 1000))
def test_every_count_is_rounded_on_its_own_halves_to_even(counts, thousandths):
    fraction = thousandths / 1000
    rounded = each_rounded(np.array([counts]), fraction)
    assert rounded.tolist() == [[round(fraction * n) for n in counts]]
    assert (rounded <= counts).all()


@pytest.mark.parametrize(("percent", "fraction"), [("12.5", 0.125), ("10", 0.1), ("33.3", 0.333)])
def test_a_budget_is_the_fraction_that_one_would_type(percent, fraction):
    assert fraction_of(Budget.parse(percent)) == fraction


def test_classes_with_shares_of_their_own_have_no_released_form():
    with pytest.raises(UsageError, match="rounding=exact"):
        fraction_of(ClassBudget.of_classes([3, 5], 80))


@pytest.mark.parametrize("seed", [0, 3, 2**32 - 1])
def test_the_draw_is_that_of_uniform_py(seed, global_state):
    bins, labels = cifar_shaped_bins(shuffled=True)
    plan = [pools_by_label(one, labels, np.full(10, 62)) for one in bins]
    expected = uniform_py(bins, labels, 0.125, seed, global_state)
    assert released_draw(plan, seed).tolist() == expected.tolist()


def test_the_draw_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].copy()
    released_draw([[(np.arange(9), 4)]], 1)
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_numpy_does_not_take_is_refused(seed):
    with pytest.raises(UsageError, match="4294967295"):
        released_draw([[(np.arange(9), 4)]], seed)


def test_the_same_places_are_drawn_from_every_bin():
    bins, labels = cifar_shaped_bins()
    plan = [pools_by_label(one, labels, np.full(10, 62)) for one in bins]
    drawn = released_draw(plan, 0).reshape(10, 620)
    places = [[np.flatnonzero(one == i)[0] for i in kept] for one, kept in zip(bins, drawn)]  # noqa: B905
    assert all(row == places[0] for row in places)


def test_an_eighth_of_cifar_is_6200_images_in_the_structure_of_the_released_file():
    bins, labels = cifar_shaped_bins(shuffled=True)
    counts = each_rounded(np.full((10, 10), 500), 0.125)
    plan = [pools_by_label(one, labels, row) for one, row in zip(bins, counts, strict=True)]
    drawn = released_draw(plan, 0)
    assert counts.tolist() == np.full((10, 10), 62).tolist()
    assert len(drawn) == 6200
    assert structure(drawn, labels) == [[[label] for label in range(10)]] * 10
    assert len(np.unique(drawn)) == 6200
    folder = Path(os.environ.get("BENCH_DATA", ""))
    released = folder / "dq_select_indices_CIFAR10_0.125.npy"
    images = folder / "cifar10-imagefolder.zip"
    if not (released.is_file() and images.is_file()):
        pytest.skip("BENCH_DATA does not name a folder with the released indices and CIFAR-10")
    theirs = np.load(released)
    assert theirs.shape == drawn.shape
    assert theirs.dtype == drawn.dtype
    assert structure(theirs, cifar_labels(images)) == structure(drawn, labels)
    assert len(np.unique(theirs)) == 6200


def structure(indices, labels):
    """The labels that stand in each of 10 x 10 blocks of 62."""
    return [
        [np.unique(block).tolist() for block in row] for row in labels[indices].reshape(10, 10, 62)
    ]


# Bin means of the texture values that ADQ ships for its ten bins of CIFAR-10's 50,000 images.
TEXTURE_MEANS = [0.32309, 0.32225, 0.32143, 0.32184, 0.31931, 0.31929, 0.32007, 0.31492, 0.31082,
                 0.30686]  # fmt: skip


@pytest.mark.slow
def test_the_mean_texture_of_cifar_is_that_of_the_released_values(shared_data):
    images = shared_data / "cifar10-imagefolder.zip"
    if not images.is_file():
        pytest.skip("BENCH_DATA does not hold cifar10-imagefolder.zip")
    with zipfile.ZipFile(images) as file:
        names = [n for n in file.namelist() if "/train/" in n and n.endswith(".jpg")]
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(file.read(n)))) for n in names])
    levels = texture_level(pixels)
    assert len(levels) == 50000
    assert levels.mean() == pytest.approx(np.mean(TEXTURE_MEANS), rel=0.02)  # a JPEG copy
    assert 0.09 < levels.std() < 0.10


def cifar_labels(path):
    """The labels of the training images by official index, from the names in the zip."""
    with zipfile.ZipFile(path) as file:
        names = [name.split("/")[2:] for name in file.namelist() if "/train/" in name]
    pairs = [(place[1], place[0]) for place in names if len(place) == 2 and place[1]]
    classes = sorted({label for _, label in pairs})
    labels = np.full(50000, -1)
    for name, label in pairs:
        labels[int(name.split(".")[0])] = classes.index(label)
    assert (np.bincount(labels) == 5000).all()
    return labels


# Totals of a bin of 5,000 by fraction, computed from adaptive.py's rule by the specification.
@pytest.mark.parametrize(
    ("fraction", "total"),
    [(0.1, 499), (0.125, 625), (0.2, 1000), (0.25, 1249), (0.3, 1499), (0.5, 2499),
     (0.6, 2999), (0.75, 3751), (0.8, 4001)],
)  # fmt: skip
def test_roundings_of_the_segments_miss_the_total_as_released(fraction, total):
    segments = adq_segment_counts(5000, fraction, ADQ_IMPORTANCES)
    assert segments.counts.sum() == total
    assert segments.sizes.tolist() == list(ADQ_SEGMENTS)
    assert not segments.is_scaled
    assert not segments.is_capped


def test_the_released_segments_favour_birds_cats_deer_and_dogs():
    # A class-by-class bin of CIFAR-10 holds 500 images of each class, in the order of the labels.
    segments = adq_segment_counts(5000, 0.125, ADQ_IMPORTANCES)
    chance = np.repeat(segments.counts / segments.sizes, segments.sizes)
    expected = chance.reshape(10, 500).sum(axis=1)
    published = [60.0, 59.2, 64.5, 68.1, 69.0, 63.7, 60.2, 60.1, 60.1, 60.1]
    assert expected == pytest.approx(published, abs=0.051)


@pytest.mark.parametrize("fraction", [0.1, 0.125, 0.3])
def test_segments_are_drawn_as_in_adaptive_py(fraction, global_state):
    members = np.random.default_rng(1).permutation(5000)
    plan = [adq_segment_counts(5000, fraction, ADQ_IMPORTANCES).of(members)]
    expected = members[adaptive_py(5000, fraction, 7, global_state)]
    assert released_draw(plan, 7).tolist() == expected.tolist()


@pytest.mark.parametrize("fraction", [0.89, 1.0])
def test_where_the_released_code_crashes_the_segment_is_taken_whole(fraction):
    segments = adq_segment_counts(5000, fraction, ADQ_IMPORTANCES)
    assert segments.is_capped
    assert (segments.counts <= segments.sizes).all()
    assert (segments.counts == segments.sizes).any()


@given(st.integers(0, 20000))
def test_segments_of_any_bin_have_the_released_shares(size):
    sizes = adq_segments(size)
    assert sizes.sum() == size
    assert np.abs(sizes - np.array(ADQ_SEGMENTS) * size / 5000).max() < 1
    assert adq_segment_counts(size, 0.3, ADQ_IMPORTANCES).is_scaled == (size != 5000)
