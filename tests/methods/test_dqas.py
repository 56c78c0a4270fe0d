from __future__ import annotations

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
from bench.selecting import select
from methods.dqas import spread_order

NETWORKS = "extractor=resnet8[width=4],extractor_epochs=1,learner=resnet8[width=4],learner_epochs=2"
PLAIN = f"dqas[drop=0,bins=3,{NETWORKS}]"
PAINTED = f"dqas[drop=0.5,mae_epochs=1,bins=3,until=10,{NETWORKS}]"


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


def spied(monkeypatch):
    seen, run = [], training.run

    def spy(job, *args, **kwargs):
        seen.append(job)
        return run(job, *args, **kwargs)

    monkeypatch.setattr(training, "run", spy)
    return seen
