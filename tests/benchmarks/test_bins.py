"""GraphCut bins of one class: the released algorithm's shape beside ours."""

from __future__ import annotations

import numpy as np
import pytest

from methods.parts.submodular import graphcut_bins

BINS = 10
SIZES = [(1000, 512), pytest.param((5000, 512), marks=pytest.mark.slow)]


def released_bins(x):
    """Pick bins in the released way, in float32 and without the embedding pass.

    The matrix is computed anew for every bin, and for every pick the rows of the picks and the
    columns of the others are gathered from it and summed; the last bin is what remains
    (`submodular_function.py`, `submodular_optimizer.py` and `quantize_sample.py`).
    """
    left, bins = np.arange(len(x)), []
    for _ in range(BINS - 1):
        unit = x[left] / np.linalg.norm(x[left], axis=1, keepdims=True)
        similar = 0.5 + 0.5 * (unit @ unit.T)
        total = similar.sum(axis=0)
        chosen, gain = np.zeros(len(left), bool), np.zeros(len(left))
        for _ in range(len(x) // BINS):
            to_picks = similar[np.ix_(chosen, ~chosen)].sum(axis=0)
            gain[~chosen] = total[~chosen] - 2 * to_picks
            best = gain.argmax()
            chosen[best], gain[best] = True, -np.inf
        bins.append(left[chosen])
        left = left[~chosen]
    return [*bins, left]


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def features(request):
    """Non-negative features with a strong mean, as a trained network gives them."""
    n, d = request.param
    noise = np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)
    return np.maximum(noise + np.float32(0.5), 0)


@pytest.mark.benchmark(group="bins")
def test_released(benchmark, features):
    got = benchmark.pedantic(released_bins, (features,), rounds=1)
    assert len(np.concatenate(got)) == len(features)


@pytest.mark.benchmark(group="bins")
@pytest.mark.parametrize("kernel", ["cosine", "sqeuclidean"])
def test_ours(benchmark, features, kernel):
    arguments = (features, None, BINS, kernel, False)
    got = benchmark.pedantic(graphcut_bins, arguments, rounds=5, warmup_rounds=1)
    assert len(np.concatenate(got)) == len(features)
