"""BLAS's threads, which wait for each other at every product."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


class _Limit:
    """One thread a product while anyone asks for it; two that restored would leave it so."""

    def __init__(self) -> None:
        self._lock, self._asking = threading.Lock(), 0

    def begin(self) -> None:
        with self._lock:
            if not self._asking:
                self._limiter = _blas().limit(limits=1)
            self._asking += 1

    def end(self) -> None:
        with self._lock:
            self._asking -= 1
            if not self._asking:
                self._limiter.restore_original_limits()


_LIMIT = _Limit()


def threads() -> int:
    """Return how many threads BLAS may use; 1 where that cannot be told."""
    return max((library["num_threads"] for library in _blas().info()), default=1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS use one thread a product, in all threads of the process."""
    _LIMIT.begin()
    try:
        yield
    finally:
        _LIMIT.end()


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
