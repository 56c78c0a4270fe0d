"""DQAS that samples over the bins of classes, beside its default over classes."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from bench import training
from bench.budgets import Budget
from bench.contract import METHODS, ImageDataset
from bench.jobs import Curve
from bench.selecting import select
from methods.dq import DatasetQuantization

NETWORKS = "extractor=resnet8[width=4],extractor_epochs=1,learner=resnet8[width=4],learner_epochs=2"
PAINTED = f"dqas[drop=0.5,mae_epochs=1,bins=3,until=10,{NETWORKS}]"
OVER_BINS = f"dqas[drop=0,bins=6,over=bins,growth=3,{NETWORKS}]"


@pytest.fixture
def uneven() -> ImageDataset:
    """Four uneven classes of images that nobody looks at."""
    sizes = [150, 120, 90, 40]
    labels = np.random.default_rng(2).permutation(np.repeat(np.arange(4), sizes)).astype(np.int64)
    keys = tuple(f"{number:03d}" for number in range(400))
    return ImageDataset(np.zeros((400, 2, 2, 1), np.uint8), labels, ("a", "b", "c", "d"), keys)


@pytest.fixture
def decided(monkeypatch):
    """Fix the bins, five by key, and what learners get right: less of later classes and bins."""

    def bins_of(self, train, ctx, images=None):
        member = np.array([bin_of(key) for key in train.keys])
        arrays = {
            "order": np.argsort(member, kind="stable"),
            "sizes": np.bincount(member, minlength=5),
        }
        return ctx.artefact("bins", lambda: arrays, params={})

    def run(job, *args, **kwargs):
        miss = np.array([0.3, 0.9, 1.5, 2.0]) * np.maximum(job.train.class_counts, 1) ** -0.4
        right = np.floor(job.test.class_counts * np.clip(1 - miss, 0, 1))
        return None, Curve(tests={job.protocol.epochs: right.astype(int).tolist()})

    def guesses(network, job):
        is_wrong = np.array([bin_of(key) > label for key, label in labelled(job.test)])
        return np.where(is_wrong, -1, job.test.labels)

    monkeypatch.setattr(DatasetQuantization, "bins_of", bins_of)
    monkeypatch.setattr(training, "run", run)
    monkeypatch.setattr(training, "guesses", guesses)


# over=classes is what it was before there was another


@pytest.mark.parametrize(
    ("percent", "picks", "by_bin", "by_class"),
    [
        ("4", "0d4ffc5d54e5b085", (3, 4, 3, 4, 2), []),
        (
            "12",
            "be721d501661d785",
            (10, 10, 9, 10, 9),
            [[8, 9, 9, 4], [8, 13, 17, 7], [8, 15, 18, 7]],
        ),
        (
            "30",
            "4ee53adc30fd2568",
            (24, 26, 23, 23, 24),
            [[8, 9, 9, 4], [8, 13, 17, 7], [11, 22, 27, 8], [15, 33, 40, 13], [15, 39, 48, 18]],
        ),
    ],
)
def test_the_default_keeps_what_it_kept_before_bins_could_be_sampled(
    percent, picks, by_bin, by_class, uneven, context, decided
):
    method, ctx = METHODS.make_one("dqas[drop=0]"), context()
    kept = method.compress(uneven, Budget.parse(percent), ctx)
    assert hashlib.sha256(str(kept.indices.tolist()).encode()).hexdigest()[:16] == picks
    assert kept.bin_counts == by_bin
    assert kept.notes.keys() == {"rounds"}
    assert [one["by_class"] for one in kept.notes["rounds"]] == by_class
    for learner in method.artefacts(uneven, ctx)[1:]:
        assert set(learner.arrays()) == {"right", "judged", "trained"}


def test_the_default_is_not_in_the_ids_and_bins_are():
    default = METHODS.make_one("dqas").identity()
    assert "over" not in default["parameters"]
    assert METHODS.make_one("dqas[over=classes]").identity() == default
    over = METHODS.make_one("dqas[over=bins]")
    assert over.identity()["parameters"] == default["parameters"] | {"over": "bins"}
    assert METHODS.from_identity(over.identity()) == over


def test_what_does_not_depend_on_the_rounds_is_shared_and_learners_are_not(noise, context):
    both = [
        [one.id for one in METHODS.make_one(spec).artefacts(noise, context())]
        for spec in (PAINTED, PAINTED.replace("bins=3", "bins=3,over=bins"))
    ]
    images_and_bins = 2
    assert both[0][:images_and_bins] == both[1][:images_and_bins]
    assert not set(both[0][images_and_bins:]) & set(both[1][images_and_bins:])


# over=bins


def test_over_bins_smaller_budgets_are_parts_of_larger_ones_and_all_are_met(
    uneven, context, decided
):
    method, nested = METHODS.make_one("dqas[drop=0,over=bins]"), []
    for percent in ("3", "5", "6.5", "11", "25", "33.3", "60", "100"):
        budget = Budget.parse(percent)
        kept = method.compress(uneven, budget, context())
        kept.check(uneven, budget, method.keeps)
        assert uneven.subset(kept.indices).class_counts.min() >= 1
        assert sum(kept.bin_counts) == len(kept)
        nested.append(set(kept.indices.tolist()))
    for small, large in pairwise(nested[1:]):  # from start on
        assert small < large


def test_over_bins_the_bins_with_errors_get_more_of_a_class(context, decided, monkeypatch):
    labels = np.arange(4000) % 4
    keys = tuple(f"{number:04d}" for number in range(4000))
    pixels = np.zeros((4000, 1, 1, 1), np.uint8)
    data = ImageDataset(pixels, labels, ("a", "b", "c", "d"), keys)

    def guesses(network, job):
        """Err the less the more images of a bin of a class were seen; most in one bin of each."""
        seen = Counter((bin_of(key), label) for key, label in labelled(job.train))
        guessed, place = job.test.labels.copy(), Counter()
        for position, (key, label) in enumerate(labelled(job.test)):
            one = bin_of(key), label
            hard = 0.9 if one[0] == label else 0.3
            place[one] += 1  # so many of every forty or so are wrong
            guessed[position] = -1 if place[one] <= 40 * hard * seen[one] ** -0.2 else label
        return guessed

    def run(job, *args, **kwargs):
        right = job.test.labels[guesses(None, job) == job.test.labels]
        return None, Curve(tests={job.protocol.epochs: np.bincount(right, minlength=4).tolist()})

    monkeypatch.setattr(training, "run", run)
    monkeypatch.setattr(training, "guesses", guesses)
    method = METHODS.make_one("dqas[drop=0,over=bins]")
    kept = method.compress(data, Budget.parse("20"), context())
    table = Counter((bin_of(key), label) for key, label in labelled(data.subset(kept.indices)))
    for label in range(4):
        others = [table[one, label] for one in range(5) if one != label]
        assert table[label, label] > 1.5 * max(others)


def test_over_bins_the_record_tells_rounds_by_class_and_by_bin_and_the_last_in_full(
    uneven, context, decided
):
    method = METHODS.make_one("dqas[drop=0,over=bins]")
    kept = method.compress(uneven, Budget.parse("12"), context())
    rounds, full = kept.notes["rounds"], kept.notes["bins_of_classes"]
    assert [sum(one["by_class"]) for one in rounds] == [30, 45, 48]
    assert [sum(one["by_bin"]) for one in rounds] == [30, 45, 48]
    assert rounds[-1]["by_class"] == uneven.subset(kept.indices).class_counts.tolist()
    assert tuple(rounds[-1]["by_bin"]) == kept.bin_counts
    of_images = Counter((label, bin_of(key)) for key, label in labelled(uneven))
    of_kept = Counter((label, bin_of(key)) for key, label in labelled(uneven.subset(kept.indices)))
    named = list(zip(full["class"], full["bin"], strict=True))
    assert named == sorted(of_images)
    assert full["images"] == [of_images[one] for one in named]
    assert full["kept"] == [of_kept[one] for one in named]
    assert sum(full["judged"]) == 30 + 24 + 18 + 8
    assert all(0 < error < 1 for error in full["error"])
    first = method.compress(uneven, Budget.parse("4"), context())
    assert first.notes == {"rounds": []}
    assert uneven.subset(first.indices).class_counts.tolist() == [6, 5, 4, 1]


def test_over_bins_the_order_of_the_images_changes_nothing(uneven, context, decided):
    method, budget = METHODS.make_one("dqas[drop=0,over=bins]"), Budget.parse("20")
    shuffled = uneven.subset(np.random.default_rng(3).permutation(len(uneven)))
    kept = [
        {data.keys[i] for i in select(method, data, budget, context(dataset=name)).indices}
        for name, data in (("straight", uneven), ("shuffled", shuffled))
    ]
    assert kept[0] == kept[1]


def test_over_bins_with_real_learners_and_classes_of_fewer_images_than_bins(noise, context):
    sizes = {0: 1, 1: 40, 2: 4}
    few = noise.subset(
        np.concatenate([np.flatnonzero(noise.labels == c)[:n] for c, n in sizes.items()])
    )
    method = METHODS.make_one(OVER_BINS)
    kept = method.compress(few, Budget.parse("40"), context())
    kept.check(few, Budget.parse("40"), method.keeps)
    assert few.subset(kept.indices).class_counts.min() >= 1
    full = kept.notes["bins_of_classes"]
    assert set(full["class"]) == {0, 1, 2}
    assert len(full["class"]) < 3 * 6
    assert min(full["images"]) >= 1
    assert full["judged"][0] == 0  # the only image of its class


def bin_of(key):
    return int(key) * 7 % 5


def labelled(data):
    return zip(data.keys, data.labels.tolist(), strict=True)
