"""The kernel matrix, made block by block in several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from methods.parts import kernel_rows
from methods.parts.gradients import Gradients
from methods.parts.kernel_rows import MatrixRows
from methods.parts.points import KERNELS, points_of

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((301, 9), dtype=np.float32)
GRADIENTS = Gradients(RNG.standard_normal((301, 3), dtype=np.float32), VECTORS)


def blas_threads():
    return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("values", [VECTORS, GRADIENTS], ids=["vectors", "gradients"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_all_entries_are_products_of_points(kernel, values, threads, monkeypatch):
    monkeypatch.setattr(kernel_rows, "BLOCK", 37)
    monkeypatch.setattr(kernel_rows, "TILE", 50)
    pool = points_of(values, kernel)
    expected = np.ones((301, 301))
    for factor in pool.factors:
        expected *= factor.astype(np.float64) @ factor.astype(np.float64).T
    expected += 0 if pool.offset is None else pool.offset
    with threadpool_limits(threads, "blas"):
        got = MatrixRows(pool).matrix
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * pool.scale)


def test_two_at_once_leave_the_threads_of_blas_as_they_were(monkeypatch):
    monkeypatch.setattr(kernel_rows, "BLOCK", 20)
    pool = points_of(VECTORS, "cosine")
    with threadpool_limits(3, "blas"), ThreadPoolExecutor(4) as several:
        before = blas_threads()
        made = list(several.map(lambda _: MatrixRows(pool).matrix, range(12)))
        assert blas_threads() == before
    assert all((one == made[0]).all() for one in made)
