from __future__ import annotations

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


def test_there_is_a_core():
    assert resources.cores() >= 1
