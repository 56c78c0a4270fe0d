"""Where a record comes from, and what it took: hours by device, joules where they are counted."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from bench import energy, precision, provenance, training
from bench.augment import Normalisation
from bench.contract import METHODS
from bench.datasets import DATASETS, Source
from bench.models import MODELS
from bench.protocols import PROTOCOLS
from bench.recording import hours, training_cost


@pytest.fixture(scope="module")
def job():
    train = DATASETS.make_one("digits").load(Source()).train.subset(np.arange(64))
    return training.Job(
        model=MODELS.make_one("resnet8[width=4]"),
        protocol=PROTOCOLS.make_one("smoke[epochs=3]"),
        train=train,
        test=None,
        normalisation=Normalisation.of(train.images),
        seed=0,
        device="cpu",
    )


def test_the_blas_kernels_are_those_that_this_process_loaded():
    np.ones((2, 2)) @ np.ones((2, 2))
    told = {(one["library"], one["kernel"]) for one in provenance.blas_kernels()}
    assert told
    assert told == {
        (one["internal_api"], one.get("architecture"))
        for one in threadpool_info()
        if one["user_api"] == "blas"
    }


def test_code_that_git_does_not_know_is_a_change(monkeypatch, tmp_path):
    def git(*arguments):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    def told():
        provenance.source.cache_clear()
        return provenance.source()

    room = tmp_path / "bench"
    room.mkdir()
    (room / "provenance.py").touch()
    git("init")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "first")
    monkeypatch.setattr(provenance, "__file__", str(room / "provenance.py"))
    assert (told()["uncommitted_changes"], told()["changes_digest"]) == (False, None)
    (tmp_path / "notes.txt").touch()
    assert told()["uncommitted_changes"] is False
    (room / "new.py").touch()
    assert told()["uncommitted_changes"] is True
    git("add", ".")
    assert told()["uncommitted_changes"] is True
    provenance.source.cache_clear()


def test_another_kernel_is_told():
    code = "import numpy; from bench.provenance import blas_kernels; print(blas_kernels())"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "OPENBLAS_CORETYPE": "Haswell"},
    ).stdout  # fmt: skip
    if "openblas" not in told:
        pytest.skip("numpy has another BLAS here")
    assert "'kernel': 'Haswell'" in told


def test_what_decides_a_processors_bits_is_in_the_stamp_of_a_checkpoint(monkeypatch):
    facts = provenance.device_facts("cpu")
    assert facts["capability"] == torch.backends.cpu.get_cpu_capability()
    before = provenance.continuation_stamp("cpu")
    changes = [
        (torch.backends.cpu, "get_cpu_capability", "another"),
        (provenance, "_processor", "another model of the same capability"),
        (precision, "bf16_units", ("another",)),
    ]
    for owner, name, value in changes:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, lambda value=value: value)
            assert provenance.continuation_stamp("cpu") != before, name


def test_a_plugins_code_is_in_the_stamp_of_a_checkpoint(own_methods, monkeypatch, tmp_path):
    path = tmp_path / "a_plugin.py"
    path.write_text("the code")
    monkeypatch.setitem(sys.modules, "a_plugin", SimpleNamespace(__file__=str(path)))
    without = provenance.continuation_stamp("cpu")
    random = METHODS.get("random")
    METHODS._classes["mine"] = type("Mine", (random,), {"__module__": "a_plugin"})
    before = provenance.continuation_stamp("cpu")
    path.write_text("other code")
    assert len({without, before, provenance.continuation_stamp("cpu")}) == 3


def test_uncommitted_changes_have_a_digest(monkeypatch):
    answers = {
        "ls-files --error-unmatch": "provenance.py", "ls-files --others": "",
        "rev-parse HEAD": "abc", "diff HEAD": "+ a line",
    }  # fmt: skip
    monkeypatch.setattr(provenance, "_git", lambda folder, *given: answers[" ".join(given[:2])])
    found = provenance.source.__wrapped__()
    assert (found["commit"], found["uncommitted_changes"]) == ("abc", True)
    assert len(found["changes_digest"]) == 16
    answers["diff HEAD"] = ""
    found = provenance.source.__wrapped__()
    assert (found["uncommitted_changes"], found["changes_digest"]) == (False, None)


@pytest.mark.parametrize(
    ("device", "artefact", "gpu", "cpu"),
    [
        ("cpu", "cpu", None, 3.0),
        ("cuda", "cuda:0", 3.0, None),
        ("cuda:1", "cpu", 2.0, 1.0),
    ],
)
def test_hours_are_those_of_the_devices_that_worked(device, artefact, gpu, cpu):
    curve = training.Curve(training_s=1.5 * 3600, testing_s=0.5 * 3600)
    found = hours(
        SimpleNamespace(device=device), curve, {"a": {"device": artefact, "seconds": 3600}}
    )
    assert found == {"gpu_hours": gpu, "cpu_hours": cpu}


class Library:
    """NVML as its Python package offers it; the GPU takes 5 J between two readings."""

    NVMLError = RuntimeError

    def __init__(self):
        self.millijoules = 1000

    def nvmlInit(self):
        """Begin."""

    def nvmlDeviceGetHandleByUUID(self, uuid):
        assert uuid == "GPU-12"
        return "handle"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        assert handle == "handle"
        self.millijoules += 5000
        return self.millijoules


@pytest.fixture
def library(monkeypatch):
    found = Library()
    monkeypatch.setitem(sys.modules, "pynvml", found)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="12")
    )
    energy._counter.cache_clear()
    yield found
    energy._counter.cache_clear()


def test_joules_are_the_difference_of_what_the_driver_counts(library):
    meter = energy.EnergyMeter("cuda:0")
    assert (meter.lap(), meter.lap()) == (5.0, 5.0)


def test_nobody_counts_a_processors_joules_or_those_of_an_old_gpu(library, monkeypatch):
    assert energy.EnergyMeter("cpu").lap() is None

    def refuse(handle):
        raise library.NVMLError("not supported")

    monkeypatch.setattr(library, "nvmlDeviceGetTotalEnergyConsumption", refuse)
    assert energy.EnergyMeter("cuda").lap() is None


def test_joules_add_up_over_the_epochs_and_are_nobodys_where_cells_are_packed(job, monkeypatch):
    monkeypatch.setattr(energy.EnergyMeter, "lap", lambda self: 2.5)
    _, curve = training.run(job)
    assert training_cost(job, curve)["energy_j"] == 7.5
    assert training_cost(job, curve, packed=2)["energy_j"] is None
    monkeypatch.undo()
    _, curve = training.run(job)
    assert training_cost(job, curve)["energy_j"] is None
