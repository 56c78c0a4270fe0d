"""Provenance: which code, packages and machine a result comes from; recorded, never hashed."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.identity import canonical_json, text_digest
from bench.resources import cores

PACKAGES = ("numpy", "pillow", "scikit-learn", "scipy", "timm", "torch", "torchvision")
_ROOMS = ("bench", "methods")
RESTARTS = "SLURM_RESTART_COUNT"
"""Set only in a job that was run before."""
_SLURM = (
    "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURMD_NODENAME", RESTARTS,
)  # fmt: skip


def source_digest() -> str:
    """Return a digest of the code that computes results: every file of bench and methods."""
    return rooms_digest(*_ROOMS)


@cache
def rooms_digest(*rooms: str) -> str:
    """Return a digest of every Python file of these packages."""
    total = hashlib.blake2b(digest_size=8)
    for room in rooms:
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
    # An installed copy may lie inside of somebody else's repository: theirs is not our commit.
    is_ours = bool(_git(folder, "ls-files", "--error-unmatch", Path(__file__).name))
    commit = _git(folder, "rev-parse", "HEAD") if is_ours else ""
    changes = _changes(folder) if commit else ""
    return {
        "version": version("dataset-compression-bench"),
        "commit": commit or None,
        "uncommitted_changes": bool(changes) if commit else None,
        "changes_digest": text_digest(changes, 8) if changes else None,
        "digest": source_digest(),
    }


def _changes(folder: Path) -> str:
    """Return what differs from the commit; of new files the names, since the digest has the rest.

    Only those count that git does not know and that compute.
    """
    computing = [f":(top){room}/*.py" for room in _ROOMS]
    new = _git(folder, "ls-files", "--others", "--exclude-standard", "--", *computing)
    return "\n".join(filter(None, (_git(folder, "diff", "HEAD"), new)))


@cache
def machine() -> dict[str, Any]:
    """Return the machine's name, processor and system."""
    return {
        "host": socket.gethostname(),
        "processor": _processor(),
        "cores": cores(),
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
    if not device.startswith("cuda"):
        return {**facts, "capability": torch.backends.cpu.get_cpu_capability()}
    try:
        return {**facts, **_gpu_facts(device)}
    except RuntimeError as error:  # what failed for want of a GPU is to be told all the same
        return {**facts, "error": str(error).partition("\n")[0]}


@cache
def _gpu_facts(device: str) -> dict[str, Any]:
    """Return what a GPU is; asked once, since one that has failed does not answer."""
    import torch

    properties = torch.cuda.get_device_properties(torch.device(device))
    return {
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "memory_bytes": properties.total_memory,
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }


def blas_kernels() -> list[dict[str, Any]]:
    """Return the BLAS libraries that this process has loaded, and the kernels that they picked.

    A kernel decides the order of a sum, and so its last bits.
    """
    return _blas_kernels(len(sys.modules))


@lru_cache(maxsize=1)
def _blas_kernels(modules: int) -> list[dict[str, Any]]:
    """Look again when modules were imported, which may have loaded another library."""
    from threadpoolctl import threadpool_info

    found = [one for one in threadpool_info() if one["user_api"] == "blas"]
    return [
        {
            "library": one["internal_api"],
            "package": Path(one["filepath"]).parent.name,
            "version": one["version"],
            "kernel": one.get("architecture"),
            "threads": one["num_threads"],
        }
        for one in found
    ]


def provenance(device: str) -> dict[str, Any]:
    """Return all that a record says of where it comes from."""
    return {
        "source": source(),
        "machine": machine(),
        "packages": packages(),
        "device": device_facts(device),
        "blas": blas_kernels(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **slurm_facts(),
    }


def slurm_facts() -> dict[str, Any]:
    """Return the Slurm job that this process belongs to, as ``slurm``; empty outside of one."""
    facts = {name: os.environ[name] for name in _SLURM if name in os.environ}
    return {"slurm": facts} if facts else {}


def module_facts(component: type) -> dict[str, str]:
    """Return a component's module and the digest of its file; plugins lie outside of bench."""
    path = getattr(sys.modules.get(component.__module__), "__file__", None)
    content = Path(path).read_bytes() if path else b""
    digest = hashlib.blake2b(content, digest_size=8).hexdigest()
    return {"module": component.__module__, "digest": digest}


def continuation_stamp(device: str) -> str:
    """Return what must be equal for an interrupted training run to go on with the same bytes.

    The run's precision follows from its protocol and model, which are in the checkpoint's name,
    and from the device or the processor's units, which are here.
    """
    from bench.precision import bf16_units

    host = [_processor(), bf16_units()]
    code = [source_digest(), _plugins()]
    return canonical_json([code, packages(), device_facts(device), host])


def _plugins() -> list[dict[str, str]]:
    """Return the modules of methods that are not in our own rooms."""
    from bench.contract import METHODS

    by_module = {method.__module__: method for method in map(METHODS.get, METHODS.names())}
    plugins = {name for name in by_module if name.partition(".")[0] not in _ROOMS}
    return [module_facts(by_module[name]) for name in sorted(plugins)]


def _git(folder: Path, *arguments: str) -> str:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _driver() -> str | None:
    """Return the version of NVIDIA's kernel driver, where Linux tells it."""
    try:
        return Path("/sys/module/nvidia/version").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
