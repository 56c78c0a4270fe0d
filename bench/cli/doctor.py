"""``bench doctor``: what this machine, and a cluster, can be used for."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench import resources
from bench.cli.codes import SOME_FAILED
from bench.cli.options import debug_option, json_option, slurm_option
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.calibration import Calibration

_LEAST_MEMORY, _LEAST_DISK = 4e9, 5e9
"""Bytes."""
_IDLE = 0.9
"""The least share of a measurement in which an idle machine gives its thread a processor."""
_OF_512_BITS = frozenset({"skylakex", "cooperlake", "sapphirerapids"})
_KERNELS = {"AVX512": _OF_512_BITS, "AVX2": _OF_512_BITS | {"haswell", "zen"}}
"""OpenBLAS's kernels that use all of a processor's vectors, by what torch calls these."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    is_fine : bool
        Whether nothing is missing.
    limits : str
        What cannot be done without it.
    """

    name: str
    is_fine: bool
    told: str
    limits: str = ""


@click.command()
@slurm_option
@json_option
@debug_option
@click.pass_context
def doctor(context: click.Context, slurm: str | None, as_json: bool) -> None:
    """Look at device, memory, packages, data sets, weights and Slurm; tell what limits what.

    With --slurm, look at the profile instead: whether the cluster has what it asks for. Exit code
    1 when it has not.
    """
    findings = list(_here() if slurm is None else _profile(slurm))
    if as_json:
        click.echo(json.dumps({"findings": [vars(one) for one in findings]}, indent=1))
    else:
        width = max(len(one.name) for one in findings)
        for one in findings:
            mark = "ok" if one.is_fine else "--"
            limits = f" ({one.limits})" if one.limits and not one.is_fine else ""
            click.echo(f"{mark}  {one.name:{width}}  {one.told}{limits}")
    is_wrong = slurm is not None and not all(one.is_fine for one in findings)
    context.exit(SOME_FAILED if is_wrong else 0)


def _profile(name: str) -> Iterator[Finding]:
    from slurm import commands, profiles
    from slurm.checks import check

    profile = profiles.read(name)
    commands.require()
    for one in check(profile):
        yield Finding(one.name, one.is_fine, one.told, "jobs would be refused or wait for ever")


def _here() -> Iterator[Finding]:
    from bench.execution import resolve_device

    device = resolve_device("auto")
    if device != "cpu" and (broken := _refusal(device)):
        yield broken
        device = "cpu"
    yield from _device(device)
    yield _packing(device)
    if device != "cpu":
        yield _gpus()
        yield _energy(device)
    yield _memory()
    yield _disk()
    yield _packages()
    yield _blas()
    yield from _data()
    yield from _weights()
    yield _slurm()


def _refusal(device: str) -> Finding | None:
    """Return what a GPU says that is there and cannot be used; None for one that can."""
    from bench.devices import answers
    from bench.provenance import device_facts

    error = device_facts(device).get("error", "")
    if not error and answers(device):
        return None
    return Finding(
        "GPU", False, error or "it does not answer",
        "another process may have it alone, or its driver is not torch's: see nvidia-smi; "
        "--device cpu computes without it",
    )  # fmt: skip


def _device(device: str) -> Iterator[Finding]:
    from bench.calibration import calibration_of
    from bench.metering import told_bytes
    from bench.models import MODELS
    from bench.precision import choose
    from bench.protocols import PROTOCOLS
    from bench.provenance import device_facts, machine

    facts = device_facts(device)
    if device == "cpu":
        name = f"{machine()['processor']}, {machine()['cores']} cores, {facts['capability']}"
    else:
        name = (
            f"{facts['name']}, {told_bytes(facts['memory_bytes'])}, compute capability "
            f"{facts['capability']}, driver {facts['driver'] or 'unknown'}"
        )
    yield Finding(
        "device", device != "cpu", f"{device}: {name}",
        "no GPU: no CUDA graphs, no joules; smoke and cpu are the protocols for this",
    )  # fmt: skip
    begun, had = time.perf_counter(), time.thread_time()
    best = calibration_of(device)
    had, passed = time.thread_time() - had, time.perf_counter() - begun
    yield _speed(best, had / passed if device == "cpu" else 1.0)
    precision = choose(PROTOCOLS.make_one("paper"), MODELS.make_one("resnet18"), device)
    yield Finding(
        "precision", precision.name == "bf16",
        f"auto takes {precision.name} for ResNet-18: {precision.reason}",
        "no faster format than fp32",
    )  # fmt: skip
    if best is not None:
        yield _hours(best.peak(precision.name))


def _speed(best: Calibration | None, processor_share: float) -> Finding:
    """Tell a calibration, in which this thread had a processor for a share of the time."""
    if best is None:
        return Finding("speed", False, "not measured", "no memory is left of it: others have it")
    return Finding(
        "speed", processor_share > _IDLE, _told(best),
        f"other processes had the processor for {1 - processor_share:.0%} of the measurement: "
        "an idle machine is faster",
    )  # fmt: skip


def _told(best: Calibration) -> str:
    return (
        f"{best.fp32 / 1e12:.3g} TFLOP/s in fp32, {best.bf16 / 1e12:.3g} in bf16, "
        f"{best.bytes_per_s / 1e9:.3g} GB/s copied"
    )


def _hours(peak: float) -> Finding:
    """Tell what the papers' smallest cell takes here at best."""
    from bench.models import MODELS
    from bench.operations import TRAINING_FACTOR, operations_per_image
    from bench.protocols import PROTOCOLS, Load

    seen = PROTOCOLS.make_one("paper").images_seen(Load(5000, 50_000, 0.1))
    each = operations_per_image(MODELS.make_one("resnet18"), (32, 32, 3), 10)
    hours = TRAINING_FACTOR * each * seen / peak / 3600
    return Finding(
        "papers' cell", hours < 1,
        f"{hours:.2g} hours or more, by its operations at that speed "
        "(protocol paper, ResNet-18, 10 % of CIFAR-10)",
        "the papers' tables take days here: bench reproduce --scale cpu",
    )  # fmt: skip


def _packing(device: str) -> Finding:
    from bench.execution import default_threads
    from bench.packing import mps_runs, packed_cells

    counts = {
        side: packed_cells(None, device, side, default_threads(side)) for side in (8, 32, 224)
    }
    told = ", ".join(f"{count} of {side} pixels" for side, count in counts.items())
    is_shared = device == "cpu" or mps_runs()
    return Finding(
        "--pack auto", is_shared, f"cells at a time: {told}",
        "MPS does not run, so that processes share the GPU in slices of time: "
        "nvidia-cuda-mps-control -d",
    )  # fmt: skip


def _gpus() -> Finding:
    import torch

    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    told = ", ".join(f"{number}: {name}" for number, name in enumerate(names))
    return Finding(
        "GPUs", len(names) > 1,
        f"{told}. A run takes the first, another with --device cuda:N, and up to {len(names)} for "
        "each cell with --gpus-per-cell",
        "no --gpus-per-cell",
    )  # fmt: skip


def _energy(device: str) -> Finding:
    from bench.energy import counted_joules

    counted = counted_joules(device) is not None
    return Finding(
        "energy", counted, "joules are counted" if counted else "not counted",
        "pip install nvidia-ml-py; GPUs before Volta do not count",
    )  # fmt: skip


def _memory() -> Finding:
    from bench.metering import told_bytes

    total, free = resources.physical_memory(), resources.available_memory()
    told = f"{told_bytes(total)}, {told_bytes(free)} free"
    return Finding("memory", free > _LEAST_MEMORY, told, "large data sets may not fit")


def _disk() -> Finding:
    from bench.metering import told_bytes

    free = shutil.disk_usage(Path.cwd()).free
    return Finding(
        "disk", free > _LEAST_DISK, f"{told_bytes(free)} free in {Path.cwd()}",
        "artefacts and checkpoints of a sweep take some GB",
    )  # fmt: skip


def _blas() -> Finding:
    import scipy.linalg  # noqa: F401  # loads the libraries that are asked for
    import torch

    from bench.provenance import blas_kernels

    found = blas_kernels()
    told = ", ".join(f"{one['library']} {one['version']}: {one['kernel']}" for one in found)
    asked = os.environ.get("OPENBLAS_CORETYPE")
    has = torch.backends.cpu.get_cpu_capability()
    wide = _KERNELS.get(has)
    chosen = {str(one["kernel"]).lower() for one in found if one["library"] == "openblas"}
    if asked and wide and not chosen <= wide:
        return Finding(
            "BLAS", False, f"{told}, as OPENBLAS_CORETYPE={asked} asks",
            f"the processor has {has}, which that does not use: without it numpy's products, and "
            "GraphCut's bins with them, may be faster",
        )  # fmt: skip
    return Finding("BLAS", bool(found), told or "unknown", "not recorded")


def _packages() -> Finding:
    from bench.provenance import PACKAGES, packages

    found = packages()
    missing = [name for name in PACKAGES if name not in found]
    told = ", ".join(f"{name} {version}" for name, version in found.items())
    return Finding("packages", not missing, told, f"missing: {', '.join(missing)}")


def _data() -> Iterator[Finding]:
    from bench.datasets import DATASETS, cifar
    from bench.datasets.base import Source

    root = cifar.data_root(Source())
    lying = sorted(p.name for p in root.glob("*")) if root.is_dir() else []
    told = f"{root}: {', '.join(lying[:8]) or 'nothing'}{', ...' if len(lying) > 8 else ''}"
    yield Finding("data folder", bool(lying), told, "name one with BENCH_DATA or --data")
    for name in DATASETS.names():
        if name == "imagefolder":
            continue  # it is wherever --data says
        try:
            DATASETS.make_one(name).load(Source())
        except BenchError as error:
            yield Finding(name, False, str(error).splitlines()[0], "its sweeps cannot run")
        else:
            yield Finding(name, True, "found")


def _weights() -> Iterator[Finding]:
    from bench.weights import weights_folder
    from methods.indices import indices_folder

    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    for name, folder, pattern, limits in (
        ("weights", weights_folder(), "*", "methods with published weights fetch them, or fail"),
        ("timm weights", cache, "models--timm--*", "pretrained=true fetches them, or refuses"),
        ("index files", indices_folder(), "*", "the method indices refuses to run"),
    ):
        found = sorted(path.name for path in folder.glob(pattern))
        told = f"{folder}: {', '.join(found[:5]) or 'none'}{', ...' if len(found) > 5 else ''}"
        yield Finding(name, bool(found), told, limits)


def _slurm() -> Finding:
    from slurm import commands

    if not commands.is_here():
        return Finding("Slurm", False, "there is no sbatch", "no --slurm from this machine")
    try:
        told: dict[str, Any] = commands.settings()
    except commands.ClusterError as error:
        return Finding("Slurm", False, str(error), "no --slurm from this machine")
    version, accounts = told.get("SLURM_VERSION", "?"), told.get("AccountingStorageType", "?")
    return Finding("Slurm", True, f"{told.get('ClusterName', '?')}, {version}, {accounts}")
