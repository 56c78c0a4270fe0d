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
        if told is None or path != Path("/proc/meminfo"):
            raise FileNotFoundError(path)
        return told

    monkeypatch.setattr(Path, "read_text", read)
    assert resources.available_memory() == resources.physical_memory()


GB = 2**30


@pytest.fixture
def groups(monkeypatch, tmp_path):
    """A function that tells a process's control groups: their list, and files by path."""

    def tell(own: str, files: dict[str, str]) -> None:
        for path, content in {"own": own, **files}.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(content)
        monkeypatch.setattr(resources, "_OWN_GROUPS", tmp_path / "own")
        monkeypatch.setattr(resources, "_GROUPS", tmp_path)
        monkeypatch.setattr(resources, "_free_memory", lambda: 64 * GB)
        monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": GB}.get(name, 128))

    return tell


def test_a_job_has_what_its_cluster_lends_it(groups):
    groups(
        "0::/job_7/step_0\n",
        {
            "job_7/memory.max": f"{8 * GB}\n",
            "job_7/memory.current": f"{5 * GB}\n",
            "job_7/memory.stat": f"anon {3 * GB}\nactive_file {GB}\ninactive_file {GB}\n",
            "job_7/step_0/memory.max": "max\n",
            "job_7/step_0/memory.current": f"{5 * GB}\n",
        },
    )
    assert (resources.physical_memory(), resources.available_memory()) == (8 * GB, 5 * GB)


def test_a_container_has_what_its_limit_leaves_in_the_older_groups_too(groups):
    groups(
        "5:cpu:/\n4:memory:/../docker/a\n0::/\n",
        {
            "memory/memory.limit_in_bytes": str(4 * GB),
            "memory/memory.usage_in_bytes": str(6 * GB),
            "memory/memory.stat": f"active_file {GB}\ntotal_active_file {GB}\n",
        },
    )
    assert (resources.physical_memory(), resources.available_memory()) == (4 * GB, 0)


@pytest.mark.parametrize("limit", ["max", str(2**63 - 4096)])
def test_a_group_without_a_limit_leaves_the_machines_memory(groups, limit):
    groups("0::/\n", {"memory.max": limit, "memory.current": "7"})
    assert (resources.physical_memory(), resources.available_memory()) == (128 * GB, 64 * GB)


def test_only_cores_that_this_process_may_use_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {2, 5, 7}, raising=False)
    assert resources.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert resources.cores() == 1
