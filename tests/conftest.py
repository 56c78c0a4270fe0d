"""What several tests share: small data sets on disk, and the real command in a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

settings.register_profile("bench", deadline=None)  # these machines are noisy
settings.load_profile("bench")

COMMAND = [sys.executable, "-c", "from bench.cli import main; main()"]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real CIFAR-10 images ($BENCH_DATA)."""
    folder = Path(os.environ.get("BENCH_DATA", "")).expanduser()
    if not (folder / "cifar10-mini.zip").is_file():
        pytest.skip("BENCH_DATA does not name a folder with cifar10-mini.zip")
    return folder


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a small image folder: train/ and test/, two classes."""

    def write(
        train: int = 6, test: int = 2, size: int = 8, classes: tuple[str, ...] = ("cat", "dog")
    ) -> Path:
        root = tmp_path / "images"
        rng = np.random.default_rng(0)
        for split, count in (("train", train), ("test", test)):
            for name in classes:
                folder = root / split / name
                folder.mkdir(parents=True)
                for number in range(count):
                    pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number:03d}.png")
        return root

    return write


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the real command in the test's folder."""

    def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
            **options,  # type: ignore[call-overload]
        )  # fmt: skip

    return run
