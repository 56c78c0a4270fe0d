from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pixel_stages import TINY

from bench.artefacts import ArtefactStore
from bench.checkpoints import Checkpoint
from bench.context import RunContext
from bench.contract import ImageDataset
from bench.datasets import DATASETS, Source
from bench.leases import Leases
from bench.models import MODELS
from bench.weights import WeightsFile
from methods.parts import mae
from methods.parts.mae_network import MaskedAutoencoder
from methods.parts.patches import PatchGrid


@pytest.fixture(scope="session")
def digits() -> ImageDataset:
    """The training split of the digits."""
    return DATASETS.make_one("digits").load(Source()).train


@pytest.fixture
def context(tmp_path: Path) -> Callable[..., RunContext]:
    """Return a function that gives a context; all of a test share one store."""

    def give(seed: int = 0, dataset: str = "digits") -> RunContext:
        store = ArtefactStore(tmp_path / "artefacts", warn=print)
        identity = {"name": dataset}
        leases = Leases(tmp_path / "leases")
        return RunContext(
            identity, seed, "cpu", store, leases, lambda name: Checkpoint(tmp_path / name)
        )

    return give


@pytest.fixture
def noise() -> ImageDataset:
    """Random images in three uneven classes."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [23, 40, 17])
    return ImageDataset(
        images=rng.integers(0, 256, (80, 8, 8, 3), dtype=np.uint8),
        labels=rng.permutation(labels).astype(np.int64),
        classes=("ant", "bee", "cat"),
        keys=tuple(f"{number:03d}" for number in range(80)),
    )


@pytest.fixture
def pretrained(monkeypatch):
    """Let ResNet-8 count as a network with pretrained weights."""
    monkeypatch.setattr(
        MODELS.get("resnet8"), "uses_pretrained_weights", property(lambda self: True)
    )


@pytest.fixture
def small_autoencoder(monkeypatch) -> None:
    """A smaller small autoencoder."""
    # First what takes its value from the other one when it is imported, here perhaps.
    monkeypatch.setattr("methods.parts.mae_training.SMALL", TINY)
    monkeypatch.setattr(mae, "SMALL", TINY)


@pytest.fixture
def released_autoencoder(tmp_path, monkeypatch) -> MaskedAutoencoder:
    """A miniature of the published checkpoint, where the stage looks for it."""
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    file = WeightsFile(mae.RELEASED.name, (tmp_path / "nowhere").as_uri())
    monkeypatch.setattr(mae, "RELEASED", file)
    monkeypatch.setattr(mae, "VIT_LARGE", TINY)
    torch.manual_seed(0)
    network = MaskedAutoencoder(PatchGrid.resized(8, 8, 14, 16), 3, TINY).eval()
    network.initialise()
    torch.save({"model": network.state_dict()}, file.path)
    return network
