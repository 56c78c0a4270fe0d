"""One process of several: its failure is told first, and whatever fails."""

from __future__ import annotations

import contextlib
import signal
import sys
from types import SimpleNamespace

import pytest
import torch

from bench import cooperation, devices, launching, rank, training
from bench.launching import Order
from bench.recording import KILLED, process_cost
from bench.results import CHECKPOINT_SHARE
from bench.storage import read_json, write_json
from bench.team import ALONE, Team


@pytest.fixture
def order_file(monkeypatch, tmp_path):
    """The path that a process is given; its environment is that of torchrun."""
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BENCH_LAUNCHER", "1")
    monkeypatch.setattr(rank, "die_with_parent", lambda parent: None)
    path = tmp_path / "order.json"
    monkeypatch.setattr(sys, "argv", ["rank", str(path)])
    return path


def test_an_order_that_cannot_be_read_is_told(order_file):
    order_file.write_text("no order")
    assert rank.main() == 1
    assert "order.json" in read_json(order_file.parent / "failed-1.json")["message"]


def test_a_failure_is_told_before_the_process_leaves_the_others(order_file, monkeypatch):
    told = order_file.parent / "failed-1.json"
    seen = []

    @contextlib.contextmanager
    def joined(team, device):
        try:
            yield
        finally:
            seen.append(told.exists())
            raise ConnectionError("the others are gone")

    def fail(job, checkpoint):
        raise ValueError("the cause")

    order = SimpleNamespace(device="cpu", threads=1, checkpoint=None)
    monkeypatch.setattr(Order, "read", lambda path: order)
    monkeypatch.setattr(rank, "_job", lambda order, device: training.Job(*[None] * 5, 0, "cpu"))
    monkeypatch.setattr("bench.cooperation.joined", joined)
    monkeypatch.setattr(training, "run", fail)
    assert rank.main() == 1
    assert seen == [True]
    assert read_json(told)["cause"] == "ValueError"


@pytest.mark.parametrize("fails", [False, True])
def test_a_process_that_failed_does_not_wait_for_the_others(monkeypatch, fails):
    done = []
    for name in ("init_process_group", "destroy_process_group"):
        monkeypatch.setattr(
            cooperation.distributed, name, lambda *given, _name=name: done.append(_name)
        )
    with contextlib.suppress(ValueError), cooperation.joined(Team(0, 2), torch.device("cpu")):
        if fails:
            raise ValueError
    assert done == ["init_process_group", "destroy_process_group"][: 1 if fails else 2]


@pytest.mark.parametrize(
    ("codes", "told", "cause"),
    [
        ({"0": -signal.SIGABRT, "1": 1}, True, "OutOfMemory"),  # NCCL ends those that are left
        ({"0": -signal.SIGTERM, "1": 1}, True, "OutOfMemory"),  # or torchrun does
        ({"0": 1, "1": -signal.SIGKILL}, True, KILLED),  # the others tell of a lost connection
        ({"0": -signal.SIGABRT}, False, KILLED),
    ],
)
def test_what_a_process_told_is_the_cause_unless_a_signal_came_first(tmp_path, codes, told, cause):
    write_json(tmp_path / "ended.json", {"id": "ended", "codes": codes})
    if told:
        content = {"cause": "OutOfMemory", "message": "m", "traceback": "", "time": 1.0}
        write_json(launching.failure_path(tmp_path, 1), content)
    order = SimpleNamespace(processes=2)
    assert launching._failure(tmp_path, order, 1).cause == cause


def test_checkpoints_of_several_processes_keep_to_the_share_of_others(tmp_path):
    cell = SimpleNamespace(id="cell-1")
    order = Order(cell, tmp_path, None, "cpu", 2, 1, "stamp")
    assert order.checkpoint.share == CHECKPOINT_SHARE
    assert order.checkpoint.folder == tmp_path / "checkpoints" / "cell-1"


class Others:
    """A trainer whose other process has told something."""

    device = torch.device("cpu")

    def __init__(self, told):
        self._told = torch.tensor(told, dtype=torch.float64)
        self.asked = 0

    def total(self, values):
        self.asked += 1
        return values + self._told


@pytest.mark.parametrize(
    ("own", "other", "all_of_them"),
    [(2.0, [3.0, 0], 5.0), (None, [3.0, 0], None), (2.0, [0.0, 1], None)],
)
def test_a_process_without_joules_takes_part_in_their_sum(own, other, all_of_them):
    others = Others(other)
    assert training._joules(own, others, Team(0, 2)) == all_of_them
    assert others.asked == 1


def test_the_peak_of_several_processes_is_the_largest_of_theirs(monkeypatch):
    monkeypatch.setattr(devices, "peak_memory_bytes", lambda device: 7)
    others = Others([[0.0, 0.0], [2.0**50, 5.0]])
    job = SimpleNamespace(team=Team(0, 2), device="cuda")
    assert training._peaks(others, job) == (2**50, 7)
    curve = training.Curve(process_peak_bytes=2**50, device_peak_bytes=9)
    told = {"process_peak_memory_bytes": 2**50, "device_peak_memory_bytes": 9}
    assert process_cost("cuda", curve) == told
    monkeypatch.undo()
    assert process_cost("cpu", training.Curve())["device_peak_memory_bytes"] is None


def test_one_process_has_its_own_joules():
    others = Others([1.0, 0])
    assert training._joules(2.0, others, ALONE) == 2.0
    assert others.asked == 0
