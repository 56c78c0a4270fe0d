"""The baselines that pick by embeddings, against their definitions written out in float64."""

from __future__ import annotations

import numpy as np
import pytest

from bench.budgets import Budget
from bench.contract import METHODS
from bench.errors import UsageError
from bench.selecting import select


def features_of(kind, n=60, d=6):
    rng = np.random.default_rng(3)
    if kind == "clustered":
        return (
            rng.normal(size=(4, d))[rng.integers(0, 4, n)] * 5 + rng.normal(size=(n, d))
        ).astype(np.float32)
    if kind == "duplicates":
        return np.repeat(rng.normal(size=(n // 3, d)), 3, axis=0).astype(np.float32)
    return rng.normal(size=(n, d)).astype(np.float32)


def plain_herding(x, count):
    x, picked = x.astype(np.float64), []
    for k in range(count):
        left = [i for i in range(len(x)) if i not in picked]
        miss = [np.linalg.norm(x.mean(0) - (x[picked].sum(0) + x[i]) / (k + 1)) for i in left]
        picked.append(left[int(np.argmin(np.round(miss, 10)))])
    return picked


def plain_kcenter(x, count):
    x = x.astype(np.float64)
    picked = [int(np.linalg.norm(x - x.mean(0), axis=1).argmin())]
    while len(picked) < count:
        gap = [
            -1.0 if i in picked else min(np.linalg.norm(x[i] - x[j]) for j in picked)
            for i in range(len(x))
        ]
        picked.append(int(np.argmax(np.round(gap, 10))))
    return picked


def plain_moderate(x, count):
    x = x.astype(np.float64)
    away = np.linalg.norm(x - x.mean(0), axis=1)
    return sorted(range(len(x)), key=lambda i: abs(away[i] - np.median(away)))[:count]


def plain_facility_location(x, count):
    unit = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    s, picked = 0.5 + 0.5 * unit @ unit.T, []
    for _ in range(count):
        value = [
            -1.0 if i in picked else np.max(s[:, [*picked, i]], axis=1).sum() for i in range(len(x))
        ]
        picked.append(int(np.argmax(np.round(value, 5))))
    return picked


REFERENCES = {
    "herding": plain_herding,
    "kcenter": plain_kcenter,
    "moderate": plain_moderate,
    "facility-location": plain_facility_location,
}


@pytest.mark.parametrize("kind", ["normal", "clustered", "duplicates"])
@pytest.mark.parametrize("name", REFERENCES)
def test_picks_are_those_of_the_definition(name, kind):
    x = features_of(kind)
    found = METHODS.make_one(name).pick(x, 20).tolist()
    expected = REFERENCES[name](x, 20)
    if kind == "duplicates":  # which of equal images is picked may differ by rounding
        assert sorted(i // 3 for i in found) == sorted(i // 3 for i in expected)
    else:
        assert found == expected


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize(("n", "count"), [(1, 1), (1, 0), (5, 5), (40, 13)])
def test_any_count_is_met_with_each_image_once(name, n, count):
    picked = METHODS.make_one(name).pick(features_of("normal", n), count)
    assert len(set(picked.tolist())) == len(picked) == count


@pytest.mark.parametrize("name", REFERENCES)
def test_images_that_are_all_alike_do_no_harm(name):
    picked = METHODS.make_one(name).pick(np.ones((9, 4), np.float32), 4)
    assert len(set(picked.tolist())) == 4


@pytest.mark.parametrize("name", REFERENCES)
def test_a_smaller_budget_takes_the_first_picks(name):
    x = features_of("clustered")
    method = METHODS.make_one(name)
    assert method.pick(x, 25).tolist()[:9] == method.pick(x, 9).tolist()


def test_a_class_whose_pairs_do_not_fit_is_refused_in_a_line(monkeypatch):
    monkeypatch.setattr("bench.resources.available_memory", lambda: 10_000)
    with pytest.raises(UsageError, match=r"those of 60 images take .* GiB.*e\.g\. kcenter"):
        METHODS.make_one("facility-location").pick(features_of("normal"), 3)


def test_pairs_that_do_not_fit_are_refused_before_the_embeddings_are_made(
    monkeypatch, noise, context, tmp_path
):
    monkeypatch.setattr("bench.resources.available_memory", lambda: 4 * 40**2 - 1)
    ctx = context()
    with pytest.raises(UsageError, match="those of 40 images"):
        select(METHODS.make_one("facility-location"), noise, Budget.parse("10"), ctx)
    assert not (tmp_path / "artefacts").exists()
