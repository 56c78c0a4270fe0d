from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from bench.budgets import Budget
from bench.cells import Plan, Sweep
from bench.contract import METHODS, Method, MethodInfo
from bench.datasets import DATASETS, Source
from bench.models import MODELS
from bench.protocols import PROTOCOLS
from bench.results import Results
from slurm.codes import code_digest
from slurm.dispatch import Prepared, prepare, submit
from slurm.profiles import Profile
from slurm.submissions import Submission
from slurm.worker import Work


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


INFO = MethodInfo(title="t", paper="none", year=2026, kind="selection", code="here")


@pytest.fixture
def register(own_methods):
    """Return a function that registers a method for one test."""

    def enter(compress, artefacts=lambda self, train, ctx: ()):
        @METHODS.register("made")
        @dataclass(frozen=True)
        class Made(Method):
            info: ClassVar[MethodInfo] = INFO

            def compress(self, train, budget, ctx):
                return compress(self, train, budget, ctx)

        Made.artefacts = artefacts
        return "made"

    return enter


@pytest.fixture
def work(results, outside_of_a_job):
    """Return a function that makes the work of a plan's cells."""

    def make(plan, **values):
        results.save_plan(plan)
        cells = tuple(cell.id for cell in plan.cells)
        code = code_digest({type(cell.method) for cell in plan.cells})
        usual = {"stage": "cells", "code": code, "minutes": 10, "device": "cpu"}
        folder = str(results.folder)
        return Work(folder, plan.id, cells, "sub", **(usual | values))

    return make


@pytest.fixture
def outside_of_a_job():
    """Take back what a job tells the processes that it starts."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
