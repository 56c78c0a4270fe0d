"""How long a sweep of 10,000 cells takes to be planned and submitted, and its status to be told.

Asked for: within 30 s and within 2 s. Both are whole commands, as a user types them, to programs
that answer for Slurm at once. The plain reference of submitting gives as many jobs to submitit as
an array; that of the status asks squeue and sacct, and counts the files of records.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CELLS = 10_000
SWEEP = [
    "run", "--methods", "random", "--no-baselines", "--ratios", "1,2",
    "--seeds", str(CELLS // 2), "--models", "resnet8[width=1]", "--protocol", "smoke[epochs=1]",
    "--slurm", "cpu",
]  # fmt: skip
BENCH = [sys.executable, "-c", "from bench.cli import main; main()"]
PLAIN_SUBMISSION = """
import sys
import submitit
executor = submitit.SlurmExecutor(sys.argv[1])
executor.update_parameters(time=60, array_parallelism=64)
executor.submit_array([print] * int(sys.argv[2]))
"""
PLAIN_STATUS = """
import subprocess, sys
from pathlib import Path
for command in ("squeue", "sacct"):
    subprocess.run([command], capture_output=True, check=False)
print(len(list(Path(sys.argv[1], "records").iterdir())))
"""


def ran(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def submitted(fake_slurm, tmp_path):
    """A folder in which the sweep is submitted, half of it done and the rest in the queue."""
    ran([*BENCH, *SWEEP], tmp_path)
    results = tmp_path / "results"
    (path,) = results.glob("submissions/*.json")
    (array,) = json.loads(path.read_text())["arrays"]
    (results / "records").mkdir(exist_ok=True)
    for number, task in enumerate(array["tasks"]):
        if number % 2:
            for cell in task["cells"]:
                (results / "records" / f"{cell}.json").touch()
    tasks, job, name = range(len(array["tasks"])), array["job"], array["name"]
    fake_slurm.says("squeue", "\n".join(
        f"{i}|{job}|{i}|RUNNING|n1|None|1:00|N/A|{name}" for i in tasks if not i % 2
    ))  # fmt: skip
    fake_slurm.says("sacct", "\n".join(
        f"{job}_{i}|{name}|RUNNING|60|cpu=2|cpu=2|240|n1" for i in tasks
    ))  # fmt: skip
    return tmp_path


@pytest.mark.slow
@pytest.mark.benchmark(group=f"plan and submit {CELLS:,} cells")
@pytest.mark.parametrize("whose", ["plain", "ours"])
def test_submission(benchmark, fake_slurm, tmp_path, whose):
    folders = iter(range(100))

    def setup():
        folder = tmp_path / str(next(folders))
        folder.mkdir()
        plain = [sys.executable, "-c", PLAIN_SUBMISSION, str(folder / "logs"), "256"]
        return ([*BENCH, *SWEEP] if whose == "ours" else plain, folder), {}

    benchmark.pedantic(ran, setup=setup, rounds=3)


@pytest.mark.slow
@pytest.mark.benchmark(group=f"status of {CELLS:,} cells")
@pytest.mark.parametrize("whose", ["plain", "ours"])
def test_status(benchmark, submitted, whose):
    plain = [sys.executable, "-c", PLAIN_STATUS, "results"]
    told = benchmark.pedantic(
        ran, args=([*BENCH, "status"] if whose == "ours" else plain, submitted), rounds=5
    )
    assert str(CELLS // 2) in told
