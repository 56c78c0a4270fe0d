from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bench import training
from bench.augment import Normalisation
from bench.checkpoints import Checkpoint
from bench.datasets import DATASETS, Source
from bench.execution import resolve_device
from bench.models import MODELS
from bench.protocols import PROTOCOLS

pytestmark = pytest.mark.gpu


@pytest.fixture
def job():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    splits = DATASETS.make_one("digits").load(Source())
    return training.Job(
        model=MODELS.make_one("resnet8[width=8]"),
        protocol=PROTOCOLS.make_one("smoke[epochs=4]"),
        train=splits.train.subset(np.arange(0, 1400, 5)),
        test=splits.test,
        normalisation=Normalisation.of(splits.train.images),
        seed=0,
        device=resolve_device("auto"),
    )


def test_auto_takes_the_gpu(job):
    assert job.device == "cuda"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_job_gives_the_same_weights_on_a_gpu(job, precision):
    job = dataclasses.replace(job, protocol=dataclasses.replace(job.protocol, precision=precision))
    first, again = (training.weights_digest(training.run(job)[0]) for _ in range(2))
    assert first == again


def test_resumed_equals_uninterrupted_on_a_gpu(job, tmp_path):
    straight, _ = training.run(job)

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.run(job, Checkpoint(tmp_path), stop)
    resumed, _ = training.run(job, Checkpoint(tmp_path))
    assert training.weights_digest(resumed) == training.weights_digest(straight)


def test_a_gpu_gives_a_cpus_accuracy_within_chance(job):
    _, on_gpu = training.run(job)
    _, on_cpu = training.run(dataclasses.replace(job, device="cpu"))
    assert abs(sum(on_gpu.tests[4]) - sum(on_cpu.tests[4])) < 40  # of 360
