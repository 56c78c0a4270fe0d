"""``bench doctor``: what this machine, and a cluster, can be used for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bench.cli.codes import SOME_FAILED
from bench.cli.options import debug_option, json_option, slurm_option
from bench.errors import BenchError


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
    yield from _device()
    yield _memory()
    yield _packages()
    yield from _data()
    yield from _weights()
    yield _slurm()


def _device() -> Iterator[Finding]:
    from bench.calibration import calibrate
    from bench.execution import resolve_device
    from bench.provenance import device_facts, machine

    device = resolve_device("auto")
    facts = device_facts(device)
    name = facts.get("name") or f"{machine()['processor']}, {machine()['cores']} cores"
    yield Finding(
        "device", device != "cpu", f"{device}: {name}",
        "no GPU: the protocols of papers take days; smoke and cpu are meant for this",
    )  # fmt: skip
    best = calibrate(device)
    yield Finding(
        "speed", True,
        f"{best.fp32 / 1e12:.3g} TFLOP/s in fp32, {best.bf16 / 1e12:.3g} in bf16, "
        f"{best.bytes_per_s / 1e9:.3g} GB/s copied",
    )  # fmt: skip


def _memory() -> Finding:
    from bench.metering import gigabytes

    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Finding("memory", total > 4e9, gigabytes(total), "large data sets may not fit")


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
            yield Finding(name, False, str(error).splitlines()[0], "or use --download")
        else:
            yield Finding(name, True, "found")


def _weights() -> Iterator[Finding]:
    own = Path(os.environ.get("BENCH_WEIGHTS") or Path.home() / ".cache" / "bench" / "weights")
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    for name, folder, pattern, limits in (
        ("weights", own, "*", "methods with published weights fetch them, or fail"),
        ("timm weights", cache, "models--timm--*", "pretrained=true fetches them, or refuses"),
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
