"""Made-up claims, and rows that are judged by them."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from reports.claims import Claim, findings
from reports.copies import Copy

COPY = Copy("cifar10", "a JPEG copy", "files-copy", ("imagefolder",), "https://example.org", "")


def claim(**changes):
    """A made-up claim: method a reaches 86.2 at 10 %, above method b."""
    given = {
        "id": "made/up",
        "source": "Made",
        "paper": "Made up, 2026",
        "address": "https://example.org",
        "read": "made up for this test",
        "third_party": False,
        "where": "Table 1",
        "metric": "accuracy",
        "compare": "value",
        "methods": ("a",),
        "than": "b",
        "dataset": "cifar10",
        "models": ("resnet18",),
        "ratios": ("10",),
        "value": Decimal("86.2"),
        "margin": 1.0,
        "protocol": "as stated",
        "same_protocols": ("paper",),
        "stand_ins": ("resnet8",),
        "error_bar": "not published",
    }
    return Claim(**{**given, **changes})


def gain(value="2.0", **changes):
    """A made-up claim: a is above b by so much."""
    number = None if value is None else Decimal(value)
    return claim(**{"compare": "difference", "value": number, **changes})


def judged(one, rows, copies=(COPY,)):
    (found,) = findings([one], rows, copies)
    return found


def around(mean, seeds=5, deviation=0.2, seed=0):
    """Accuracies with exactly this mean and standard deviation."""
    noise = np.random.default_rng(seed).normal(size=seeds)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    return mean + deviation * noise
