"""The protocol ``cpu`` at 10 % of CIFAR-10 (a JPEG copy of quality 75), tests included.

BENCH_DATA=FOLDER pytest -m slow --benchmark-enable -s tests/benchmarks/test_cpu_protocol.py
"""

from __future__ import annotations

import pytest
import torch

from bench import training
from bench.budgets import Budget
from bench.datasets import DATASETS, Source
from bench.execution import prepare_torch
from bench.models import MODELS
from bench.normalising import normalisation_for
from bench.protocols import PROTOCOLS


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_cpu_protocol(benchmark, shared_data, precision):
    path = shared_data / "cifar10-imagefolder.zip"
    if not path.is_file():
        pytest.skip("BENCH_DATA has no cifar10-imagefolder.zip")
    splits = DATASETS.make_one("imagefolder").load(Source(path))
    prepare_torch(torch.get_num_threads())
    kept = Budget.parse("10").images(len(splits.train))
    protocol = PROTOCOLS.make_one(f"cpu[precision={precision}]")
    job = training.Job(
        model=MODELS.make_one("resnet8"),
        protocol=protocol,
        train=splits.train.subset(range(0, len(splits.train), len(splits.train) // kept)),
        test=splits.test,
        normalisation=normalisation_for(protocol.normalisation, splits.train),
        seed=0,
        device="cpu",
    )
    _, curve = benchmark.pedantic(training.run, (job,), rounds=1)
    accuracy = 100 * sum(curve.tests[protocol.epochs]) / len(splits.test)
    print(
        f"\n{precision} ({curve.precision}): {accuracy:.2f} %, "
        f"training {curve.training_s:.1f} s, testing {curve.testing_s:.1f} s"
    )
