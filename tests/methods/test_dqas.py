from __future__ import annotations

import hashlib
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from selections import graphcut_bins

from bench import training
from bench.budgets import Budget
from bench.contract import METHODS, ImageDataset
from bench.errors import UsageError
from bench.jobs import Curve
from bench.selecting import select
from methods.dq import DatasetQuantization
from methods.dqas import spread_order

NETWORKS = "extractor=resnet8[width=4],extractor_epochs=1,learner=resnet8[width=4],learner_epochs=2"
PLAIN = f"dqas[drop=0,bins=3,{NETWORKS}]"
PAINTED = f"dqas[drop=0.5,mae_epochs=1,bins=3,until=10,{NETWORKS}]"
OVER_BINS = f"dqas[drop=0,bins=6,over=bins,growth=3,{NETWORKS}]"


@pytest.fixture
def halves() -> ImageDataset:
    """Two dark or bright classes, and two that differ by which half of a noisy image is lit."""
    rng = np.random.default_rng(1)
    labels = rng.permutation(np.repeat(np.arange(4), 100)).astype(np.int64)
    images = rng.normal(110, 60, (400, 8, 8, 1))
    images[labels == 0] *= 0.05
    images[labels == 1] *= 0.05
    images[labels == 1] += 240
    images[labels == 2, :4] += 25
    images[labels == 3, 4:] += 25
    keys = tuple(f"{number:03d}" for number in range(400))
    return ImageDataset(
        images.clip(0, 255).astype(np.uint8), labels, ("dark", "bright", "top", "bottom"), keys
    )


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


@pytest.mark.parametrize("percent", ["4", "5", "13.7", "33.3", "100"])
def test_every_budget_is_met_exactly_and_no_class_is_emptied(percent, noise, context):
    budget = Budget.parse(percent)
    method = METHODS.make_one(PLAIN)
    kept = method.compress(noise, budget, context())
    kept.check(noise, budget, method.keeps)
    assert noise.subset(kept.indices).class_counts.min() >= 1
    assert sum(kept.bin_counts) == len(kept)


def test_fewer_images_than_classes_are_refused(noise, context):
    with pytest.raises(UsageError, match="cannot hold one of each of 3 classes"):
        METHODS.make_one(PLAIN).compress(noise, Budget.parse("2"), context())


def test_smaller_budgets_are_parts_of_larger_ones(halves, context):
    method = METHODS.make_one(PLAIN)
    kept = [set(method.compress(halves, Budget.parse(p), context()).indices) for p in
            ("5", "6.5", "11", "25", "60")]  # fmt: skip
    for small, large in pairwise(kept):
        assert small < large


def test_the_classes_that_are_hard_to_tell_get_more(halves, context):
    method = METHODS.make_one(PLAIN.replace("learner_epochs=2", "learner_epochs=10"))
    kept = method.compress(halves, Budget.parse("20"), context())
    dark, bright, top, bottom = halves.subset(kept.indices).class_counts.tolist()
    assert top + bottom > 1.3 * (dark + bright)
    assert min(top, bottom) > max(dark, bright)


def test_the_record_tells_every_decision_up_to_the_last(halves, context):
    kept = METHODS.make_one(PLAIN).compress(halves, Budget.parse("12"), context())
    rounds = kept.notes["rounds"]
    assert [sum(one["by_class"]) for one in rounds] == [30, 45, 48]
    assert rounds[-1]["by_class"] == halves.subset(kept.indices).class_counts.tolist()
    assert all(0 < error < 1 for one in rounds for error in one["error"])
    for before, after in pairwise(rounds):
        assert (np.array(before["by_class"]) <= after["by_class"]).all()


def test_a_budget_below_the_first_round_has_the_same_share_of_every_class(halves, context):
    kept = METHODS.make_one(PLAIN).compress(halves, Budget.parse("4"), context())
    assert halves.subset(kept.indices).class_counts.tolist() == [4, 4, 4, 4]
    assert kept.notes["rounds"] == []


def test_learners_grow_with_the_rounds_and_never_see_what_judges_them(halves, context, monkeypatch):
    jobs = spied(monkeypatch)
    METHODS.make_one(PLAIN).compress(halves, Budget.parse("30"), context())
    learners = [job for job in jobs if job.test is not None]
    assert [len(job.train) for job in learners] == [20, 30, 45, 68, 101]
    for job in learners:
        assert not set(job.train.keys) & set(job.test.keys)
        assert set(job.train.keys) | set(job.test.keys) <= set(halves.keys)


def test_reconstructions_make_the_bins_teach_the_learners_and_are_what_is_kept(
    noise, context, monkeypatch
):
    jobs, method, ctx = spied(monkeypatch), METHODS.make_one(PAINTED), context()
    kept = method.compress(noise, Budget.parse("25"), ctx)
    painted = method.stage.reconstructions(noise, ctx)
    images = painted["images"]
    assert (images != noise.images).any()
    assert (kept.images == images[kept.indices]).all()
    assert kept.stored_bytes == len(kept) * method.stage.bytes_each(noise)
    assert kept.notes["pixels"]["drop"] == 0.5
    features = method.embeddings(noise, ctx, painted)["features"]
    bins = graphcut_bins(features, noise.labels, bins=3, kernel="sqeuclidean")
    assert kept.bin_counts == tuple(len(set(one) & set(kept.indices)) for one in bins)
    learners = [job for job in jobs if job.test is not None]
    assert learners
    for job in learners:
        learnt = [noise.keys.index(key) for key in job.train.keys]
        judge = [noise.keys.index(key) for key in job.test.keys]
        assert (job.train.images == images[learnt]).all()
        assert (job.test.images == noise.images[judge]).all()


def test_dropped_patches_leave_room_for_more_images_of_a_budget_in_bytes(noise, context):
    budget, painted = Budget.parse("25b"), METHODS.make_one(PAINTED)
    kept = painted.compress(noise, budget, context())
    kept.check(noise, budget, painted.keeps)
    plain = METHODS.make_one(PLAIN).compress(noise, budget, context())
    assert len(plain) == 20
    assert len(kept) > 30


def test_one_loop_serves_all_ratios_and_is_charged_to_each(noise, context):
    method, costs = METHODS.make_one(PLAIN), []
    for percent in ("10", "20", "20"):
        ctx = context()
        select(method, noise, Budget.parse(percent), ctx)
        costs.append({key: c for key, c in ctx.costs.items() if c["kind"] != "compressed"})
    assert costs[0] == costs[1] == costs[2]
    kinds = [cost["kind"] for cost in costs[0].values()]
    assert sorted(set(kinds)) == ["bins", "embeddings", "extractor", "learner"]
    assert kinds.count("learner") == len(method.sizes) == 5
    declared = {one.id for one in method.artefacts(noise, context())}
    assert declared <= set(costs[0])


def test_an_interrupted_loop_gives_what_an_uninterrupted_one_does(halves, context, monkeypatch):
    method, budget = METHODS.make_one(PLAIN), Budget.parse("25")
    interrupted, resumed = context(), context()
    seen = []

    def stop(stage, done, total):
        seen.append(stage)
        if seen.count("learner") == 5:  # in the midst of the third round
            raise KeyboardInterrupt

    monkeypatch.setattr(interrupted, "progress", stop)
    with pytest.raises(KeyboardInterrupt):
        method.compress(halves, budget, interrupted)
    jobs = spied(monkeypatch)
    kept = method.compress(halves, budget, resumed)
    assert len(jobs) == 2  # the third round and the fourth, the last one below 25 %
    straight = method.compress(halves, budget, context(dataset="elsewhere"))
    assert kept.indices.tolist() == straight.indices.tolist()
    assert kept.notes == straight.notes


def test_seeds_decide_and_repeat(noise, context):
    method, budget = METHODS.make_one(PLAIN), Budget.parse("20")
    first, again, other = (
        method.compress(noise, budget, context(seed, place)).indices.tolist()
        for seed, place in ((0, "a"), (0, "b"), (1, "a"))
    )
    assert first == again
    assert set(first) != set(other)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 10**6))
def test_every_beginning_of_the_order_is_a_webster_apportionment_of_the_bins(bins, classes, seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(bins, 60))
    labels, member = rng.integers(0, classes, count), rng.integers(0, bins, count)
    priority = rng.random(count)
    parts = [np.flatnonzero(member == one) for one in range(bins)]
    order = spread_order(parts, labels, priority)
    assert sorted(order) == list(range(count))
    for label in range(classes):
        mine = np.flatnonzero(labels == label)
        mine = mine[np.argsort(order[mine])]
        sizes = np.bincount(member[mine], minlength=bins)
        for k in range(1, len(mine)):
            taken = np.bincount(member[mine[:k]], minlength=bins)
            last = max((taken[b] - 0.5) / sizes[b] for b in range(bins) if taken[b])
            following = min((taken[b] + 0.5) / sizes[b] for b in range(bins) if taken[b] < sizes[b])
            assert last <= following + 1e-12
        for one in range(bins):
            drawn = [i for i in mine if member[i] == one]
            assert (np.diff(priority[drawn]) >= 0).all()


def test_it_says_that_it_is_a_reconstruction():
    info = METHODS.get("dqas").info
    assert info.reconstruction
    assert not info.released
    assert "reconstruction" in info.title


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ("dqas[start=30]", "no round below until=30"),
        ("dqas[growth=1]", "at least 1.05|from 1.05"),
        ("dqas[drop=1]", "from 0 to 0.99"),
        ("dqas[learner=resnet9]", "Did you mean 'resnet8'"),
    ],
)
def test_wrong_parameters_are_refused_when_the_method_is_made(spec, hint):
    with pytest.raises(UsageError, match=hint):
        METHODS.make_one(spec)


def bin_of(key):
    return int(key) * 7 % 5


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


def labelled(data):
    return zip(data.keys, data.labels.tolist(), strict=True)


def spied(monkeypatch):
    seen, run = [], training.run

    def spy(job, *args, **kwargs):
        seen.append(job)
        return run(job, *args, **kwargs)

    monkeypatch.setattr(training, "run", spy)
    return seen
