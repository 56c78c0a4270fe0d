"""Provenance: which code, packages and machine a result comes from; recorded, never hashed."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "scikit-learn", "scipy", "timm", "torch", "torchvision")
_ROOMS = ("bench", "methods")


@cache
def source_digest() -> str:
    """Return a digest of the code that computes results: every file of bench and methods."""
    total = hashlib.blake2b(digest_size=8)
    for room in _ROOMS:
        spec = find_spec(room)
        folders = spec.submodule_search_locations if spec else None
        for folder in folders or []:
            for path in sorted(Path(folder).rglob("*.py")):
                total.update(path.relative_to(folder).as_posix().encode())
                total.update(path.read_bytes())
    return total.hexdigest()


@cache
def source() -> dict[str, Any]:
    """Return the version, commit and digest of the running code."""
    folder = Path(__file__).resolve().parent
    commit = _git(folder, "rev-parse", "HEAD")
    changed = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    return {
        "version": version("dataset-compression-bench"),
        "commit": commit or None,
        "uncommitted_changes": changed if commit else None,
        "digest": source_digest(),
    }


@cache
def machine() -> dict[str, Any]:
    """Return the machine's name, processor and system."""
    return {
        "host": socket.gethostname(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


@cache
def packages() -> dict[str, str]:
    """Return the versions of the packages that results depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def device_facts(device: str) -> dict[str, Any]:
    """Return what of the device decides speed and bits; imports torch."""
    import torch

    facts: dict[str, Any] = {"device": device, "threads": torch.get_num_threads()}
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(torch.device(device))
        facts |= {"name": properties.name, "cuda": torch.version.cuda}
    return facts


def provenance(device: str) -> dict[str, Any]:
    """Return all that a record says of where it comes from."""
    return {
        "source": source(),
        "machine": machine(),
        "packages": packages(),
        "device": device_facts(device),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def plugin_version(module: str) -> str | None:
    """Return the distribution and version that a method's module comes from, if any."""
    try:
        return distribution(module.partition(".")[0]).version
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
