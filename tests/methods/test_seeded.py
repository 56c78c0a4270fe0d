"""Whether a method's result depends on the selection seed follows from its parameters."""

from __future__ import annotations

import pytest

from bench.budgets import parse_budgets
from bench.cells import Plan, Sweep
from bench.contract import METHODS
from bench.datasets import DATASETS
from bench.models import MODELS
from bench.protocols import PROTOCOLS

FIXED = "extractor=timm[architecture=test_resnet.r160_in1k,pretrained=true]"


@pytest.mark.parametrize(
    ("spec", "seeded"),
    [
        ("herding", True),
        (f"herding[{FIXED}]", False),
        (f"moderate[{FIXED}]", False),
        (f"graphcut[{FIXED}]", False),
        (f"graphcut[{FIXED},embedding=gradients]", False),
        (f"graphcut[{FIXED},embedding=gradients,head=random]", True),
        ("graphcut[edition=released]", True),
        (f"dq[{FIXED}]", True),  # its draws
        (f"classwise[base=kcenter[{FIXED}]]", True),  # its learners
        (f"classwise[base=kcenter[{FIXED}],allocation=uniform]", False),
        ("full", False),
        ("random", True),
    ],
)
def test_it_follows_from_the_parameters(spec, seeded):
    method = METHODS.make_one(spec)
    assert method.seeded is method.facts()["seeded"] is seeded


def test_a_plan_has_one_selection_where_nothing_is_drawn():
    sweep = Sweep(
        dataset=DATASETS.make_one("digits"),
        fingerprint="print",
        methods=METHODS.make(f"herding[{FIXED}],random"),
        budgets=parse_budgets("10"),
        models=MODELS.make("resnet8"),
        protocols=PROTOCOLS.make("smoke"),
        seeds=2,
        selection_seeds=3,
    )
    cells = Plan.of(sweep).cells
    drawn = {(c.selection_seed, c.training_seed) for c in cells if c.method.name == "random"}
    fixed = {(c.selection_seed, c.training_seed) for c in cells if c.method.name == "herding"}
    assert len(drawn) == 6
    assert fixed == {(0, 0), (0, 1)}
