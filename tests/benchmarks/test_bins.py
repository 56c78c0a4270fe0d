"""GraphCut bins of one class: the released algorithm beside ours, exact and released edition.

    pytest tests/benchmarks/test_bins.py --benchmark-enable -m ""

Vectors are features [n, 512] or last-layer gradients of 10 classes [n, 5130], these once by their
factors and once as any vectors. The quotient of two rows of a group is what counts.
"""

from __future__ import annotations

import numpy as np
import pytest
from selections import graphcut_bins

from methods.parts.gradients import Gradients
from methods.parts.released_greedy import released_bins

BINS = 10


def plain_picks(rows, budget):
    """Pick from one pool in the released way.

    All float32 similarities at once, from copies, and their columns' sums; for every pick the
    rows of the picks and the columns of the others are gathered anew and summed
    (`cossim.py`, `submodular_function.py`, `submodular_optimizer.py`).
    """
    n = len(rows)
    everything, known = np.ones(n, bool), np.zeros(n, bool)
    similar = np.zeros((n, n), np.float32)
    product = np.dot(rows[everything], rows[everything].T)
    length = np.linalg.norm(rows[everything], axis=1)
    other = np.linalg.norm(rows[everything], axis=1)
    cosine = product / (length.reshape(-1, 1) * other)
    cosine[np.isneginf(cosine)] = 0.0
    similar[:, everything] = 0.5 + 0.5 * cosine
    total = np.sum(similar[:, everything], axis=0)
    known[:] = True
    picked, gain = np.zeros(n, bool), np.zeros(n)
    for _ in range(budget):
        assert known[~picked].all()
        gain[~picked] = -2.0 * np.sum(similar[np.ix_(picked, ~picked)], axis=0) + total[~picked]
        best = gain.argmax()
        picked[best], gain[best] = True, -np.inf
    return np.flatnonzero(picked)


def plain_bins(rows):
    """All bins in the released way, without its pass over the images for every bin."""
    left, found = np.arange(len(rows)), []
    for _ in range(BINS - 1):
        picks = plain_picks(rows[left], len(rows) // BINS)
        found.append(left[picks])
        left = np.delete(left, picks)
    return [*found, left]


def features(n, d):
    """Non-negative features with a strong mean, as a trained network gives them."""
    noise = np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)
    return np.maximum(noise + np.float32(0.5), 0)


def gradients(n, classes, d):
    """Residuals of softmax outputs that lean to the first class, times features."""
    logits = 2 * np.random.default_rng(1).standard_normal((n, classes), dtype=np.float32)
    logits[:, 0] += 4
    residuals = np.exp(logits - logits.max(axis=1, keepdims=True))
    residuals /= residuals.sum(axis=1, keepdims=True)
    residuals[:, 0] -= 1
    return Gradients(residuals, features(n, d))


MAKE = {
    "1000x512": lambda: features(1000, 512),
    "5000x512": lambda: features(5000, 512),
    "5000x5130": lambda: gradients(5000, 10, 512),
}
SHAPES = [
    name if name == "1000x512" else pytest.param(name, marks=pytest.mark.slow) for name in MAKE
]


@pytest.fixture(params=SHAPES)
def vectors(request, benchmark):
    """One class's vectors; gradients by their factors."""
    benchmark.group = f"bins {request.param}"
    return MAKE[request.param]()


@pytest.fixture
def rows(vectors):
    """The same vectors as plain rows."""
    return vectors.rows() if isinstance(vectors, Gradients) else vectors


def test_released_algorithm(benchmark, rows):
    got = benchmark.pedantic(plain_bins, (rows,), rounds=3 if len(rows) == 1000 else 1)
    assert len(np.concatenate(got)) == len(rows)


@pytest.mark.parametrize("kernel", ["cosine", "sqeuclidean"])
def test_exact(benchmark, vectors, kernel):
    arguments = (vectors, None, BINS, kernel, False)
    rounds = 30 if len(vectors) == 1000 else 5
    got = benchmark.pedantic(graphcut_bins, arguments, rounds=rounds, warmup_rounds=1)
    assert len(np.concatenate(got)) == len(vectors)


@pytest.mark.slow
@pytest.mark.parametrize("vectors", ["5000x5130"], indirect=True)
def test_exact_of_any_vectors(benchmark, rows):
    arguments = (rows, None, BINS, "cosine", False)
    got = benchmark.pedantic(graphcut_bins, arguments, rounds=3, warmup_rounds=1)
    assert len(np.concatenate(got)) == len(rows)


def test_released_edition(benchmark, vectors, rows):
    labels = np.zeros(len(rows), np.int64)
    rounds = 5 if len(rows) == 1000 else 2
    got = benchmark.pedantic(released_bins, (vectors, labels, BINS), rounds=rounds)
    for mine, theirs in zip(got, plain_bins(rows), strict=True):
        assert mine.tolist() == theirs.tolist()
