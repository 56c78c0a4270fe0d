from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def _record(
    method: str, percent: str, seed: int, accuracy: float, **changes: Any
) -> dict[str, Any]:
    kept = round(1000 * float(percent) / 100)
    specs = {"dataset": "digits", "method": method, "model": "resnet8", "protocol": "smoke"}
    specs |= changes.get("specs", {})
    return {
        "schema": 1,
        "id": f"cell-2-{method}-{percent}-{seed}",
        "specs": specs,
        "method": {
            "seeded": method != "full",
            "edition": "paper",
            "reconstruction": changes.get("reconstruction", False),
        },
        "cell": {
            "dataset": {"fingerprint": "made-up"},
            "method": {"name": method, "version": changes.get("version", 1)},
            "model": {"name": specs["model"]},
            "budget": {"percent": percent, "of": changes.get("of", "images")},
            "selection_seed": 0 if method == "full" else seed,
            "training_seed": seed,
            "protocol": {
                "name": specs["protocol"],
                "parameters": {"epochs": 30, "batch_size": 32},
            },
        },
        "metrics": {"accuracy": accuracy, "best_accuracy": accuracy + 0.5},
        "compressed": {
            "images": kept,
            "bytes": 65 * kept,
            "full_images": 1000,
            "full_bytes": 65000,
        },
        "cost": {
            "selection_s": 0.5,
            "training_s": kept / 100,
            "testing_s": 0.02,
            "steps": 30 * -(-kept // 32),
            "images_seen": 30 * kept,
        },
        "provenance": {
            "source": {
                "version": "0.1.0", "commit": "0123456789abcdef", "uncommitted_changes": False,
                "digest": changes.get("digest", "d1"),
            },
            "machine": {"processor": "a processor"},
            "packages": {"torch": "2.0"},
            "device": {"device": "cpu", "threads": 2},
        },
    }  # fmt: skip


@pytest.fixture
def record() -> Callable[..., dict[str, Any]]:
    """Return a function that makes a record with known numbers."""
    return _record


@pytest.fixture
def records() -> list[dict[str, Any]]:
    """Three seeds of two methods, the control and full data at two ratios."""
    made = [_record("full", "100", seed, 99.0 + 0.1 * seed) for seed in range(3)]
    for percent, base in (("10", 90.0), ("20", 95.0)):
        for seed in range(3):
            noise = (-0.4, 0.1, 0.3)[seed]
            made.append(_record("random", percent, seed, base + noise))
            made.append(_record("dq", percent, seed, base + noise + (0.2, 0.3, 0.1)[seed]))
            made.append(_record("adq[alpha=0.7]", percent, seed, base - noise))
    return made


@pytest.fixture
def failure() -> dict[str, Any]:
    """One failed cell."""
    failed = _record("dq", "30", 1, 0.0)
    failed |= {
        "phase": "selection",
        "type": "ValueError",
        "message": "the pool | is <empty>\nsecond line",
    }
    return failed
