"""What the tests of compressing share: a small folder of photos."""

from __future__ import annotations

from pathlib import Path

import pytest
from compressions import (
    save,
)
from makers import DATASET

from bench.artefacts import ArtefactStore
from bench.context import RunContext
from bench.leases import Leases
from bench.results import Results


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Give cats of growing brightness and dogs of shrinking brightness, eight each."""
    root = tmp_path / "photos"
    for number in range(8):
        save(root / "cat" / f"{number:02d}.png", 10 * number + 5)
        save(root / "dog" / f"{number:02d}.png", 200 - 10 * number)
    return root


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def context_of(tmp_path, warnings):
    """Return a function that makes the context of another selection on the same folder."""

    def make(dataset=DATASET, selection_seed=0, device="cpu", progress=None, waits=True):
        return RunContext(
            dataset=dataset,
            selection_seed=selection_seed,
            device=device,
            store=ArtefactStore(tmp_path / "artefacts", warnings.append),
            leases=Leases(tmp_path / "leases"),
            checkpoint=Results(tmp_path).checkpoint,
            progress=progress,
            waits=waits,
        )

    return make
