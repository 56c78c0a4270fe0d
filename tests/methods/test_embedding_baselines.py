"""The baselines that pick by embeddings, against their definitions written out in float64."""

from __future__ import annotations

import numpy as np
import pytest

from bench.budgets import Budget
from bench.contract import METHODS, ImageDataset
from bench.errors import UsageError
from bench.selecting import select


def features_of(kind, n=63, d=6):
    rng = np.random.default_rng(3)
    if kind == "clustered":
        return (
            rng.normal(size=(4, d))[rng.integers(0, 4, n)] * 5 + rng.normal(size=(n, d))
        ).astype(np.float32)
    if kind == "duplicates":
        return np.repeat(rng.normal(size=(n // 3, d)), 3, axis=0).astype(np.float32)
    return rng.normal(size=(n, d)).astype(np.float32)


def plain_herding(x, labels, count):
    x, picked = x.astype(np.float64), []
    for k in range(count):
        left = [i for i in range(len(x)) if i not in picked]
        miss = [np.linalg.norm(x.mean(0) - (x[picked].sum(0) + x[i]) / (k + 1)) for i in left]
        picked.append(left[int(np.argmin(np.round(miss, 10)))])
    return picked


def plain_kcenter(x, labels, count):
    x = x.astype(np.float64)
    picked = [int(np.linalg.norm(x - x.mean(0), axis=1).argmin())]
    while len(picked) < count:
        gap = [
            -1.0 if i in picked else min(np.linalg.norm(x[i] - x[j]) for j in picked)
            for i in range(len(x))
        ]
        picked.append(int(np.argmax(np.round(gap, 10))))
    return picked


def plain_moderate(x, labels, count):
    x = x.astype(np.float64)
    centre = {label: x[labels == label].mean(0) for label in set(labels)}
    away = [np.linalg.norm(one - centre[label]) for one, label in zip(x, labels, strict=True)]
    return sorted(range(len(x)), key=lambda i: abs(away[i] - np.median(away)))[:count]


def plain_facility_location(x, labels, count):
    # float32 pairs as in the method: two images that cover only each other are a tie without them
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    s, best, picked = 0.5 + 0.5 * (unit @ unit.T), np.zeros(len(x), dtype=np.float32), []
    for _ in range(count):
        gain = np.maximum(s - best[:, None], 0).astype(np.float64).sum(axis=0)
        gain[picked] = -1.0
        picked.append(int(np.argmax(gain)))
        best = np.maximum(best, s[picked[-1]])
    return picked


REFERENCES = {
    "herding": plain_herding,
    "kcenter": plain_kcenter,
    "moderate": plain_moderate,
    "facility-location": plain_facility_location,
}


@pytest.fixture
def picks(monkeypatch, context):
    """Return a function that gives what a method keeps of images with these features."""

    def give(spec, x, count, labels=None):
        labels = np.zeros(len(x), dtype=np.int64) if labels is None else labels
        monkeypatch.setattr(
            "methods.parts.selection.EmbeddingMethod.embeddings",
            lambda self, train, ctx, images=None: {"features": x},
        )
        train = ImageDataset(
            images=np.zeros((len(x), 8, 8, 3), dtype=np.uint8),
            labels=labels,
            classes=("ant", "bee", "cat")[: labels.max() + 1],
            keys=tuple(f"{number:03d}" for number in range(len(x))),
        )
        budget = Budget.exactly(count, len(x))
        return METHODS.make_one(spec).compress(train, budget, context()).indices.tolist()

    return give


@pytest.mark.parametrize("balance", ["true", "false"])
@pytest.mark.parametrize("kind", ["normal", "clustered", "duplicates"])
@pytest.mark.parametrize("name", REFERENCES)
def test_picks_are_those_of_the_definition(name, kind, balance, picks):
    x, plain = features_of(kind), REFERENCES[name]
    labels = np.repeat(np.random.default_rng(5).permutation(np.repeat([0, 1, 2], [5, 7, 9])), 3)
    found = picks(f"{name}[balance={balance}]", x, 21, labels)
    if balance == "true":
        members = [np.flatnonzero(labels == label) for label in range(3)]
        expected = [
            own[i]
            for own, count in zip(members, (5, 7, 9), strict=True)
            for i in plain(x[own], labels[own], count)
        ]
    else:
        expected = plain(x, labels, 21)
    if kind == "duplicates":  # which of equal images is picked may differ by rounding
        assert sorted(i // 3 for i in found) == sorted(i // 3 for i in expected)
    else:
        assert found == expected


@pytest.mark.parametrize("name", REFERENCES)
def test_picks_from_the_whole_set_leave_the_classes_shares(name, picks):
    x, labels = features_of("normal"), np.repeat([0, 1, 2], [30, 24, 9])
    x[labels == 0] = 1.0
    kept = labels[picks(f"{name}[balance=false]", x, 21, labels)]
    assert np.bincount(kept, minlength=3).tolist() != [10, 8, 3]
    assert METHODS.make_one(name).balanced
    assert not METHODS.make_one(f"{name}[balance=false]").balanced


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize(("n", "count"), [(1, 1), (5, 5), (40, 13)])
def test_any_count_is_met_with_each_image_once(name, n, count, picks):
    picked = picks(name, features_of("normal", n), count)
    assert len(set(picked)) == len(picked) == count


@pytest.mark.parametrize("name", REFERENCES)
def test_images_that_are_all_alike_do_no_harm(name, picks):
    assert len(set(picks(name, np.ones((9, 4), np.float32), 4))) == 4


@pytest.mark.parametrize("name", REFERENCES)
def test_a_smaller_budget_takes_the_first_picks(name, picks):
    x = features_of("clustered")
    labels = np.repeat([0, 1, 2], 21)
    spec = f"{name}[balance=false]"
    assert picks(spec, x, 25, labels)[:9] == picks(spec, x, 9, labels)


def test_a_class_whose_pairs_do_not_fit_is_refused_in_a_line(monkeypatch):
    monkeypatch.setattr("bench.resources.available_memory", lambda: 10_000)
    with pytest.raises(UsageError, match=r"those of 63 images take .* GiB.*e\.g\. kcenter"):
        METHODS.make_one("facility-location").pick(features_of("normal"), 3)


def test_pairs_that_do_not_fit_are_refused_before_the_embeddings_are_made(
    monkeypatch, noise, context, tmp_path
):
    monkeypatch.setattr("bench.resources.available_memory", lambda: 4 * 40**2 - 1)
    ctx = context()
    with pytest.raises(UsageError, match="those of 40 images"):
        select(METHODS.make_one("facility-location"), noise, Budget.parse("10"), ctx)
    assert not (tmp_path / "artefacts").exists()


def test_pairs_of_the_whole_set_are_refused_where_those_of_a_class_fit(monkeypatch, noise, context):
    monkeypatch.setattr("bench.resources.available_memory", lambda: 4 * 80**2 - 1)
    method = METHODS.make_one("facility-location[balance=false]")
    with pytest.raises(
        UsageError, match=r"pairs of the training split: those of 80 .*balance=true"
    ):
        select(method, noise, Budget.parse("10"), context())
