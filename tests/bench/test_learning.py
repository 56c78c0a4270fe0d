"""The protocol ``cpu`` learns real images: CIFAR-10, a JPEG copy of quality 75."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from bench import training
from bench.datasets import DATASETS, Source
from bench.models import MODELS
from bench.normalising import normalisation_for
from bench.protocols import PROTOCOLS

EPOCHS = 15


@pytest.fixture(scope="module")
def splits(shared_data: Path):
    source = Source(shared_data / "cifar10-mini.zip")
    return DATASETS.make_one("imagefolder").load(source)


@pytest.mark.slow
def test_the_learning_curve_rises_on_real_images(splits):
    assert (len(splits.train), len(splits.test)) == (2000, 500)
    protocol = PROTOCOLS.make_one(f"cpu[epochs={EPOCHS},test_every=5]")
    _, curve = training.run(
        training.Job(
            model=MODELS.make_one("resnet8"),
            protocol=protocol,
            train=splits.train,
            test=splits.test,
            normalisation=normalisation_for(protocol.normalisation, splits.train),
            seed=0,
            device="cpu",
        )
    )
    accuracy = [100 * sum(curve.tests[epoch]) / len(splits.test) for epoch in (5, 10, 15)]
    print([round(loss, 3) for loss in curve.train_loss], accuracy)
    assert accuracy[-1] > 35  # by chance 10
    assert accuracy[-1] > accuracy[0] + 3
    smoothed = [sum(curve.train_loss[k : k + 3]) for k in range(EPOCHS - 2)]
    assert all(later < earlier for earlier, later in itertools.pairwise(smoothed))
