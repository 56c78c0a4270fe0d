"""BLAS's threads, which wait for each other at every product."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

_LIMITING = threading.RLock()  # two that limit and restore at once would leave BLAS limited


def threads() -> int:
    """Return how many threads BLAS may use; 1 where that cannot be told."""
    return max((library["num_threads"] for library in _blas().info()), default=1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS use one thread a product, in all threads of the process."""
    with _LIMITING, _blas().limit(limits=1):
        yield


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
