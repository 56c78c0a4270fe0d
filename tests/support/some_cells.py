"""Cells by the texts that name their parts."""

from __future__ import annotations

from bench.budgets import Budget
from bench.cells import Cell
from bench.contract import METHODS
from bench.datasets import DATASETS
from bench.models import MODELS
from bench.protocols import PROTOCOLS


def cell(
    method="random", budget="10", dataset="digits", model="resnet8", protocol="smoke", **fields
) -> Cell:
    return Cell(
        **{"fingerprint": "f", "selection_seed": 0, "training_seed": 0, **fields},
        dataset=DATASETS.make_one(dataset),
        method=METHODS.make_one(method),
        budget=Budget.parse(budget),
        model=MODELS.make_one(model),
        protocol=PROTOCOLS.make_one(protocol),
    )


AXES = {"dataset": DATASETS, "method": METHODS, "model": MODELS, "protocol": PROTOCOLS}
