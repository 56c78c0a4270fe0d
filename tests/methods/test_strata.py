"""What DQAS samples over, against a plain count of image after image."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import training
from methods.parts.holdout import Draw, Learners
from methods.parts.strata import BinsOfClasses, Decision

seeds = st.integers(0, 10**6)


def drawn(seed):
    """Return bins, labels, an order, the number of classes and the strata, some of all empty."""
    rng = np.random.default_rng(seed)
    count, bins, classes = (int(rng.integers(1, high)) for high in (60, 7, 6))
    labels, member = rng.integers(0, classes, count), rng.integers(0, bins, count)
    order = rng.permutation(count).astype(float)
    parts = [np.flatnonzero(member == one) for one in range(bins)]
    return member, labels, order, classes, BinsOfClasses.of(parts, labels, order, classes)


def judged_by(rng, labels, strata, classes):
    """Return what a learner counts, and which images it judged, which rightly, which it saw."""
    judged, saw = rng.random(len(labels)) < 0.4, rng.random(len(labels)) < 0.3
    right = judged & (rng.random(len(labels)) < 0.5)
    told = {"right": right, "judged": judged, "trained": saw}
    by_class = {k: np.bincount(labels[v], minlength=classes) for k, v in told.items()}
    by_stratum = {
        f"strata_{k}": np.bincount(strata.of_image[v], minlength=len(strata.sizes))
        for k, v in told.items()
    }
    return by_class | by_stratum, judged, right, saw


@settings(max_examples=30)
@given(seeds)
def test_strata_are_the_bins_of_classes_that_hold_images(seed):
    member, labels, _, _, strata = drawn(seed)
    images = list(zip(labels.tolist(), member.tolist(), strict=True))
    named = list(zip(strata.classes.tolist(), strata.bins.tolist(), strict=True))
    assert named == sorted(set(images))
    assert [named[one] for one in strata.of_image] == images
    assert strata.sizes.tolist() == [images.count(one) for one in named]


@settings(max_examples=30)
@given(seeds)
def test_picks_are_the_first_of_each_stratum_in_its_order(seed):
    _, _, order, _, strata = drawn(seed)
    counts = np.random.default_rng(seed).integers(0, strata.sizes + 3)
    expected = []
    for one, count in enumerate(counts):
        mine = [i for i in range(len(order)) if strata.of_image[i] == one]
        expected += sorted(mine, key=lambda i: order[i])[:count]
    assert strata.picks(counts).tolist() == expected


@settings(max_examples=30)
@given(seeds)
def test_the_first_round_is_each_classs_number_in_proportion_to_its_bins(seed):
    _, labels, _, classes, strata = drawn(seed)
    sizes = np.bincount(labels, minlength=classes)
    by_class = np.random.default_rng(seed).integers(0, sizes + 1)
    first = strata.first(by_class)
    assert (first <= strata.sizes).all()
    for label in range(classes):
        mine = strata.classes == label
        assert first[mine].sum() == by_class[label]
        share = by_class[label] * strata.sizes[mine] / max(sizes[label], 1)
        assert (np.abs(first[mine] - share) < 1).all()


@settings(max_examples=30)
@given(seeds, st.integers(1, 3))
def test_errors_and_what_was_trained_are_those_of_a_plain_count(seed, learners):
    _, labels, _, classes, strata = drawn(seed)
    rng = np.random.default_rng(seed)
    told, judged, right, saw = zip(
        *(judged_by(rng, labels, strata, classes) for _ in range(learners)), strict=True
    )
    errors, trained = strata.errors(told), strata.trained(told)
    for one, label in enumerate(strata.classes):
        answers = [
            (labels[i], strata.of_image[i], not right[n][i])
            for n in range(learners)
            for i in np.flatnonzero(judged[n])
        ]
        of_class = [wrong for c, _, wrong in answers if c == label]
        mine = [wrong for _, s, wrong in answers if s == one]
        class_error = (sum(of_class) + 0.5) / (len(of_class) + 1)
        assert errors[one] == pytest.approx((sum(mine) + class_error) / (len(mine) + 1))
        assert mine or errors[one] == class_error
        seen = sum(int(saw[n][strata.of_image == one].sum()) for n in range(learners))
        assert trained[one] == pytest.approx(seen / learners)
    assert ((errors > 0) & (errors < 1)).all()


@settings(max_examples=30)
@given(seeds)
def test_the_record_sums_up_by_class_and_by_bin(seed):
    member, labels, _, classes, strata = drawn(seed)
    rng = np.random.default_rng(seed)
    told = judged_by(rng, labels, strata, classes)[0]
    slope, kept = rng.random(len(strata.sizes)), rng.integers(0, strata.sizes + 1)
    notes = strata.notes([Decision([told], strata.errors([told]), slope, kept)])
    (one,) = notes["rounds"]
    picked = strata.picks(kept)
    assert one["by_class"] == np.bincount(labels[picked], minlength=classes).tolist()
    bins = strata.shape[1]
    assert one["by_bin"] == np.bincount(member[picked], minlength=bins).tolist()
    for label in range(classes):
        mine = slope[strata.of_image[labels == label]]  # an entry an image
        if len(mine):
            assert one["slope"][label] == pytest.approx(mine.mean(), abs=1e-6)
        else:
            assert one["slope"][label] is None
    assert notes["bins_of_classes"]["kept"] == kept.tolist()


def test_learners_count_by_stratum_what_their_network_recognises(noise, context, monkeypatch):
    seen, run = [], training.run

    def spy(job, *args, **kwargs):
        network, curve = run(job, *args, **kwargs)
        seen.append((job, network))
        return network, curve

    monkeypatch.setattr(training, "run", spy)
    strata = np.array([int(key) % 7 for key in noise.keys])
    strata[np.arange(len(noise)) == 5] = 7  # one image on its own
    order, counts = np.arange(80.0), np.array([3, 4, 0, 2, 5, 1, 40, 1])
    learners = Learners("resnet8[width=4]", epochs=2, count=1, share=0.2)
    draw = Draw(order, counts, strata)
    (learner,) = learners.of_draw(lambda _: draw, noise, context(), params={"draw": "test"})
    told = learner.arrays()
    ((job, network),) = seen
    images = torch.from_numpy(job.test.images).permute(0, 3, 1, 2).float() / 255
    mean, deviation = (
        torch.tensor(one)[:, None, None]
        for one in (job.normalisation.mean, job.normalisation.deviation)
    )
    with torch.inference_mode():
        guessed = network((images - mean) / deviation).argmax(1).numpy()

    def number(keys):
        found = Counter(int(strata[noise.keys.index(key)]) for key in keys)
        return [found[one] for one in range(len(counts))]

    is_right = guessed == job.test.labels
    rightly = [key for key, right in zip(job.test.keys, is_right, strict=True) if right]
    assert told["strata_right"].tolist() == number(rightly)
    assert told["strata_judged"].tolist() == number(job.test.keys)
    assert told["strata_trained"].tolist() == number(job.train.keys)
    free = np.array(number(noise.keys)) - told["strata_judged"]
    assert told["strata_trained"].tolist() == np.minimum(counts, free).tolist()
    for name in ("right", "judged", "trained"):
        assert told[name].sum() == told[f"strata_{name}"].sum()
