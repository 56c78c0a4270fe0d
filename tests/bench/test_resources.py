from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import resources


def test_free_memory_is_a_part_of_the_machine_s():
    assert 2**20 < resources.available_memory() <= resources.physical_memory() < 2**50


@pytest.mark.parametrize("told", [None, "MemTotal: 7 kB\n"])
def test_where_the_system_does_not_tell_what_is_free_all_counts(told, monkeypatch):
    def read(path: Path, encoding: str) -> str:
        if told is None:
            raise FileNotFoundError(path)
        return told

    monkeypatch.setattr(Path, "read_text", read)
    assert resources.available_memory() == resources.physical_memory()


def test_only_cores_that_this_process_may_use_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {2, 5, 7}, raising=False)
    assert resources.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert resources.cores() == 1
