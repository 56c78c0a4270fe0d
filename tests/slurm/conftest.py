from __future__ import annotations

from collections.abc import Callable
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
def submitted(fake_slurm: object, results: Results) -> Callable[..., Submission]:
    """Return a function that submits a plan to the fake Slurm."""

    def send(plan: Plan, profile: Profile | None = None) -> Submission:
        return submit(prepared(plan, profile), results)

    def prepared(plan: Plan, profile: Profile | None) -> Prepared:
        return prepare(plan, results, Source(), profile or Profile())

    return send
