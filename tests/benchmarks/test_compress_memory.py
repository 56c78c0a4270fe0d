"""Memory of ``bench compress`` on many small files: what a file more takes.

The peak of a process on 100,000 files against that of one on 1,000; both import torch.
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

MANY, FEW = 100_000, 1_000
CLASSES = 100
MOST_BYTES_A_FILE = {"random": 3_000, "adq[extractor_epochs=0]": 6_000}
"""What may be held of a file: names and sizes, and what a method knows of an image."""
_PEAK = (
    "import resource, sys\n"
    "from bench.cli import cli\n"
    "cli.main(sys.argv[1:], standalone_mode=False)\n"
    "print('peak', 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
)


def small_files(root: Path, count: int) -> Path:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 80, 200)).save(file, "JPEG")
    for label in range(CLASSES):
        (root / f"class-{label:03d}").mkdir(parents=True)
    for number in range(count):
        name = f"class-{number % CLASSES:03d}/image-{number:07d}.jpg"
        (root / name).write_bytes(file.getvalue())
    return root


def peak_bytes(photos: Path, method: str) -> int:
    asked = ("compress", str(photos), "--method", method, "--ratio", "20", "--size", "8")
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, *asked, "--device", "cpu", "--out", f"{photos}-{method}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.benchmark(group="compress: memory")
@pytest.mark.parametrize("method", MOST_BYTES_A_FILE)
def test_a_file_takes_few_bytes(benchmark, tmp_path: Path, method: str) -> None:
    many, few = small_files(tmp_path / "many", MANY), small_files(tmp_path / "few", FEW)
    peak = benchmark.pedantic(peak_bytes, (many, method), rounds=1)
    each = (peak - peak_bytes(few, method)) / (MANY - FEW)
    benchmark.extra_info.update(peak_bytes=peak, bytes_a_file=each)
    assert each < MOST_BYTES_A_FILE[method]
