from __future__ import annotations

import numpy as np
import pytest

from bench import training
from methods.parts.holdout import Draw, Learners, sensitivity

TINY = Learners("resnet8[width=4]", epochs=2, count=2, share=0.2)


@pytest.fixture
def jobs(monkeypatch):
    """Return the list of the training runs that are made."""
    seen, run = [], training.run

    def spy(job, *args, **kwargs):
        seen.append(job)
        return run(job, *args, **kwargs)

    monkeypatch.setattr(training, "run", spy)
    return seen


def test_every_class_holds_out_its_share_and_keeps_an_image_for_learning(noise, context):
    few = noise.subset(
        np.concatenate(
            [np.flatnonzero(noise.labels == label)[:n] for label, n in ((0, 1), (1, 2), (2, 17))]
        )
    )
    held_out = TINY.held_out(few, 0, context())
    assert few.subset(held_out).class_counts.tolist() == [0, 1, 3]
    almost_all = Learners("resnet8", epochs=1, count=1, share=0.9)
    assert few.subset(almost_all.held_out(few, 0, context())).class_counts.tolist() == [0, 1, 15]


def test_the_held_out_part_follows_keys_and_differs_by_learner_and_seed(noise, context):
    shuffled = noise.subset(np.random.default_rng(3).permutation(len(noise)))
    straight = set(noise.subset(TINY.held_out(noise, 0, context())).keys)
    assert set(shuffled.subset(TINY.held_out(shuffled, 0, context())).keys) == straight
    assert set(noise.subset(TINY.held_out(noise, 1, context())).keys) != straight
    assert set(noise.subset(TINY.held_out(noise, 0, context(1))).keys) != straight


def test_learners_see_the_training_split_only_and_never_what_judges_them(noise, context, jobs):
    for learner in TINY.at_ratio(30, noise, context()):
        assert learner["judged"].sum() > 0
    assert len(jobs) == 2
    for job in jobs:
        learnt, judge = set(job.train.keys), set(job.test.keys)
        assert not learnt & judge
        assert learnt | judge <= set(noise.keys)
        assert not (job.train.images == job.test.images[0]).all(axis=(1, 2, 3)).any()


def test_draws_are_balanced_by_class_and_nested_over_ratios(noise, context, jobs):
    small, large = (TINY.at_ratio(percent, noise, context()) for percent in (10, 40))
    assert [one["trained"].tolist() for one in small] == [[2, 4, 2]] * 2
    assert [one["trained"].tolist() for one in large] == [[9, 16, 7]] * 2
    keys = [set(job.train.keys) for job in jobs]
    assert keys[0] <= keys[2]
    assert keys[1] <= keys[3]
    assert keys[0] != keys[1]


def test_a_tiny_ratio_still_trains_on_every_class(noise, context):
    assert TINY.at_ratio(0.1, noise, context())[0]["trained"].tolist() == [1, 1, 1]


def test_learners_are_trained_on_other_images_and_judged_on_the_original_ones(noise, context, jobs):
    dark = np.zeros_like(noise.images)
    order = np.arange(len(noise), dtype=float)
    TINY.of_draw(
        lambda number: Draw(order, np.array([3, 3, 3])),
        noise,
        context(),
        params={"draw": "test"},
        images=lambda: dark,
    )[0].arrays()
    assert (jobs[0].train.images == 0).all()
    positions = [noise.keys.index(key) for key in jobs[0].test.keys]
    assert (jobs[0].test.images == noise.images[positions]).all()


def test_sensitivity_adds_up_its_learners_and_is_charged_for_them(noise, context):
    fresh, cached = context(), context()
    found = sensitivity(TINY, [10, 40], noise, fresh)
    by_hand = [[one["right"] for one in TINY.at_ratio(p, noise, fresh)] for p in (10, 40)]
    assert found["right"].tolist() == [np.sum(one, axis=0).tolist() for one in by_hand]
    assert found["judged"].tolist() == (2 * np.array([5, 8, 3])).tolist()
    sensitivity(TINY, [10, 40], noise, cached).arrays()
    assert cached.costs == fresh.costs
    assert sorted(cost["kind"] for cost in fresh.costs.values()) == 4 * ["learner"] + [
        "sensitivity"
    ]


def test_another_seed_gives_another_sensitivity_and_the_same_one_the_same(digits, context):
    def right(seed, dataset):
        few = digits.subset(np.arange(300))
        return sensitivity(TINY, [40], few, context(seed, dataset))["right"].tolist()

    assert right(0, "one") == right(0, "another place, same images")
    assert right(0, "one") != right(1, "one")


def test_an_interrupted_learner_goes_on_from_its_last_epoch(digits, context, monkeypatch):
    few = digits.subset(np.arange(200))
    learners = Learners("resnet8[width=4]", epochs=5, count=1, share=0.3)
    interrupted, epochs = context(), []

    def stop(stage, done, total):
        if done == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(interrupted, "progress", stop)
    with pytest.raises(KeyboardInterrupt):
        learners.at_ratio(40, few, interrupted)[0]["right"]
    resumed = context()
    monkeypatch.setattr(resumed, "progress", lambda stage, done, total: epochs.append(done))
    right = learners.at_ratio(40, few, resumed)[0]["right"]
    straight = learners.at_ratio(40, few, context(dataset="elsewhere"))[0]["right"]
    assert [done for done in epochs if done] == [4, 5]
    assert right.tolist() == straight.tolist()
