from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.budgets import Budget
from bench.cells import Plan, Sweep
from bench.contract import METHODS
from bench.datasets import DATASETS, Source
from bench.models import MODELS
from bench.protocols import PROTOCOLS
from bench.results import Results
from slurm.dispatch import Prepared, prepare, submit
from slurm.profiles import Profile
from slurm.submissions import Submission

SBATCH = """\
#!/bin/sh
# Counts up, as sbatch does, and keeps what it was given.
cd 'FOLDER'
n=$(($(cat count 2>/dev/null || echo 100) + 1)); echo $n > count
cp "$1" "sent-$n.sh"; env > "environment-$n"
[ -e refused ] && [ $n -gt "$(cat refused)" ] && { echo "sbatch: error: QOS limit" >&2; exit 1; }
echo "Submitted batch job $n"
"""


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


def plan_of(
    methods: str = "random", seeds: int = 2, budgets: str = "10", widths: tuple[int, ...] = (4,)
) -> Plan:
    sweep = Sweep(
        dataset=DATASETS.make_one("digits"),
        fingerprint=DATASETS.make_one("digits").fingerprint(Source()),
        methods=METHODS.make(methods),
        budgets=[Budget.parse(text) for text in budgets.split(",")],
        models=[MODELS.make_one(f"resnet8[width={width}]") for width in widths],
        protocols=[PROTOCOLS.make_one("smoke[epochs=1]")],
        seeds=seeds,
    )
    return Plan.of(sweep)


@pytest.fixture
def plan() -> Callable[..., Plan]:
    """Return a function that makes a plan on the digits."""
    return plan_of


@pytest.fixture
def results(tmp_path: Path) -> Results:
    folder = Results(tmp_path / "results")
    folder.prepare()
    return folder


@pytest.fixture
def submitted(fake_slurm: FakeSlurm, results: Results) -> Callable[..., Submission]:
    """Return a function that submits a plan to the fake Slurm."""

    def send(plan: Plan, profile: Profile | None = None) -> Submission:
        return submit(prepared(plan, profile), results)

    def prepared(plan: Plan, profile: Profile | None) -> Prepared:
        return prepare(plan, results, Source(), profile or Profile())

    return send
