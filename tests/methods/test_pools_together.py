"""Pools that are searched at the same time."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from methods.parts import submodular
from methods.parts.submodular import graphcut_binning

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 7, 900)
VECTORS = RNG.standard_normal((900, 12), dtype=np.float32)


def blas_threads():
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


@pytest.fixture
def searched(monkeypatch):
    """The sizes of the pools whose search began and the bytes that each was given, in order."""
    begun, greedy = [], submodular.greedy

    def noted(points, sizes, limit):
        begun.append((points.n, limit))
        return greedy(points, sizes, limit)

    monkeypatch.setattr(submodular, "greedy", noted)
    return begun


def test_they_give_what_they_give_one_by_one(searched):
    with threadpool_limits(3, "blas"):
        before = blas_threads()
        together = graphcut_binning(VECTORS, LABELS, 4, memory_limit=2**31)
        assert blas_threads() == before
    with threadpool_limits(1, "blas"):
        apart = graphcut_binning(VECTORS, LABELS, 4, memory_limit=2**31)
    assert [one.tolist() for one in together.bins] == [one.tolist() for one in apart.bins]
    assert together.smallest_gap == apart.smallest_gap
    limits = [limit for _, limit in searched]
    assert limits == [2**31 // 3] * 7 + [2**31] * 7


def test_what_fits_only_once_is_searched_one_by_one_with_all_memory(searched):
    most = int(np.bincount(LABELS).max())
    enough = submodular.most_bytes(most, 12)
    with threadpool_limits(3, "blas"):
        got = graphcut_binning(VECTORS, LABELS, 4, memory_limit=enough)
        graphcut_binning(VECTORS, LABELS, 4, memory_limit=2 * enough)
    assert got.searches == ("matrix",)
    assert [limit for _, limit in searched] == [enough] * 14


def test_where_one_fails_those_that_wait_do_not_begin(monkeypatch):
    begun = []

    def fails(points, sizes, limit):
        begun.append(points.n)
        raise MemoryError

    monkeypatch.setattr(submodular, "greedy", fails)
    labels = np.arange(900) // 3
    with threadpool_limits(2, "blas"):
        before = blas_threads()
        with pytest.raises(MemoryError):
            graphcut_binning(VECTORS, labels, 3)
        assert blas_threads() == before
    assert len(begun) < 300
