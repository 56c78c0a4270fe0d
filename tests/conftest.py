"""What several tests share: small data sets, the real command, and programs in Slurm's place."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:  # they share the cores: before numpy and torch are imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from command import run_command
from hypothesis import settings
from PIL import Image

from bench.contract import METHODS

settings.register_profile("bench", deadline=None)  # these machines are noisy
settings.load_profile("bench")

# A shell starts `tox &` with Ctrl-C ignored, and the commands under test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SBATCH = """\
#!/bin/sh
# Counts up, as sbatch does, and keeps what it was given.
cd 'FOLDER'
n=$(($(cat count 2>/dev/null || echo 100) + 1)); echo $n > count
cp "$1" "sent-$n.sh"; env > "environment-$n"
[ -e refused ] && [ $n -gt "$(cat refused)" ] && { echo "sbatch: error: QOS limit" >&2; exit 1; }
echo "Submitted batch job $n"
"""


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Give every run the same number of threads, and several runs room beside each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture
def own_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the methods that a test registers from the tests after it."""
    METHODS.names()  # loads those there are: into the registry itself, not into the test's copy
    monkeypatch.setattr(METHODS, "_classes", dict(METHODS._classes))


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

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return run_command(*arguments, **{"cwd": tmp_path, **options})

    return run


@dataclass
class FakeSlurm:
    """Programs with Slurm's names that say what a test wants them to."""

    folder: Path

    def write(self, program: str, text: str) -> None:
        path = self.folder / program
        path.write_text(text)
        path.chmod(0o755)

    def says(self, program: str, lines: str) -> None:
        (self.folder / f"{program}.said").write_text(lines)
        self.write(program, f"#!/bin/sh\nexec cat '{self.folder}/{program}.said'\n")

    def fails(self, program: str, message: str) -> None:
        self.write(program, f"#!/bin/sh\necho '{message}' >&2\nexit 1\n")


@pytest.fixture
def fake_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A Slurm without jobs: everything that is submitted stays away from the queue."""
    fake = FakeSlurm(tmp_path / "programs")
    fake.folder.mkdir()
    fake.write("sbatch", SBATCH.replace("FOLDER", str(fake.folder)))
    fake.write("srun", "#!/bin/sh\n")
    fake.says("squeue", "")
    fake.says("scontrol", "MaxArraySize            = 1001\n")
    fake.fails("sacct", "Slurm accounting storage is disabled")
    monkeypatch.setenv("PATH", f"{fake.folder}{os.pathsep}{os.environ['PATH']}")
    return fake
