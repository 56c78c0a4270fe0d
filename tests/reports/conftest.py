from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from reports.reading import cell_row


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


@pytest.fixture(scope="session")
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


CLASSES = ("cat", "dog", "eel", "fox")


def _detailed(
    method: str,
    percent: float = 10,
    accuracy: float = 90.0,
    *,
    seed: int = 0,
    model: str = "resnet18",
    protocol: str = "paper",
    **changes: Any,
) -> dict[str, Any]:
    """Return a record of :func:`_record` with what the papers' tables and the figures read."""
    specs = {"dataset": "cifar10", "model": model, "protocol": protocol}
    made = _record(method, f"{percent:g}", seed, accuracy, specs=specs)
    made["id"] = f"cell-2-{method}-{percent:g}-{model}-{protocol}-{seed}"
    made["method"]["seeded"] = not method.startswith("full")
    made["cell"]["method"] = {"name": method.split("[")[0], "version": 1, "spec": method}
    tests = changes.get("tests", (10, 20, 30))
    made["metrics"] |= {
        "per_class_accuracy": {
            name: accuracy - 40 * number / percent for number, name in enumerate(CLASSES)
        },
        "curve": {"accuracy": {str(epoch): accuracy * epoch / max(tests) for epoch in tests}},
    }
    kept = made["compressed"]["images"]
    made["compressed"] |= {
        "content": "selected",
        "class_counts": changes.get("class_counts", [kept // 4] * 4),
        "bin_counts": changes.get("bin_counts", []),
        "notes": changes.get("notes", {}),
    }
    made["cost"]["artefacts"] = changes.get("artefacts", {})
    made["cost"] |= {key: changes[key] for key in ("selection_s", "training_s") if key in changes}
    return made


@pytest.fixture(scope="session")
def detailed() -> Callable[..., dict[str, Any]]:
    """Return a function that makes a record with curves, classes, bins and artefacts."""
    return _detailed


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Return what compares a text with a committed one; BENCH_UPDATE_GOLDEN=1 writes it anew."""

    def compare(name: str, text: str) -> None:
        path = Path(__file__).parent / "golden" / name
        if os.environ.get("BENCH_UPDATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture
def rows(record: Callable[..., dict[str, Any]]) -> Callable[..., list[dict[str, Any]]]:
    """Return a function that makes rows of one method from its accuracies by seed."""

    def make(
        method: str,
        accuracies: Iterable[float],
        percent: str = "10",
        model: str = "resnet18",
        protocol: str = "paper",
        **changes: Any,
    ) -> list[dict[str, Any]]:
        made = []
        specs = {"dataset": "cifar10", "model": model, "protocol": protocol}
        specs |= changes.pop("specs", {})
        for seed, accuracy in enumerate(accuracies):
            one = record(method, percent, seed, float(accuracy), specs=specs, **changes)
            one["cell"]["dataset"]["fingerprint"] = changes.get("fingerprint", "md5-cifar10")
            one["cost"]["selection_s"] = changes.get("selection_s", 0.5)
            made.append(cell_row(one))
            made[-1]["id"] += f"-{specs['dataset']}-{model}-{protocol}"
        return made

    return make
