"""What records say of costs and failures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench import training
from bench.augment import Normalisation
from bench.calibration import calibrate
from bench.datasets import DATASETS, Source
from bench.models import MODELS
from bench.protocols import PROTOCOLS
from bench.recording import OUT_OF_MEMORY, cause_of, training_cost


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 TB"),
    ],
)
def test_running_out_of_memory_is_told_with_what_would_help(error):
    cause, message = cause_of(error, "cpu")
    assert cause == OUT_OF_MEMORY
    assert "GB in all" in message
    assert "smaller batch" in message
    assert len(message.splitlines()) == 1


def test_a_real_allocation_that_does_not_fit_is_out_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8)
    assert cause_of(caught.value, "cpu")[0] == OUT_OF_MEMORY


def test_other_errors_keep_their_type_and_message():
    assert cause_of(ValueError("the pool is empty"), "cpu") == ("ValueError", "the pool is empty")
    assert cause_of(KeyError(), "cpu") == ("KeyError", "KeyError")


def test_the_calibration_is_positive_and_measured_once():
    found = calibrate("cpu")
    assert min(found.to_json().values()) > 0
    assert calibrate("cpu") is found
    assert found.peak("bf16") == found.bf16


def test_costs_follow_the_steps_and_the_measured_time():
    splits = DATASETS.make_one("digits").load(Source())
    train = splits.train.subset(np.arange(64))
    job = training.Job(
        model=MODELS.make_one("resnet8[width=4]"),
        protocol=PROTOCOLS.make_one("smoke[epochs=2]"),
        train=train,
        test=None,
        normalisation=Normalisation.of(train.images),
        seed=0,
        device="cpu",
    )
    _, curve = training.run(job)
    cost = training_cost(job, curve)
    assert (cost["steps"], cost["images_seen"]) == (4, 128)
    assert cost["operations_per_s"] * cost["training_s"] == pytest.approx(
        cost["training_operations"]
    )
    assert 0 < cost["share_of_peak"] < 1.5
