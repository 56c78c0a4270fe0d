"""Checks of a profile against the cluster, before anything is submitted."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from slurm import commands
from slurm.commands import ClusterError, seconds_of
from slurm.limits import memory_limit_gb
from slurm.nodes import UNLIMITED, Node, chosen, nodes_of, partitions, usable

if TYPE_CHECKING:
    from slurm.profiles import Profile


@dataclass(frozen=True)
class Check:
    """One thing that a profile asks for, and whether the cluster has it."""

    name: str
    is_fine: bool
    told: str


def check(profile: Profile) -> list[Check]:
    """Return what of a profile the cluster can and cannot give; its artefact jobs' too."""
    found = _check(profile)
    if profile.artefacts is not None:
        known = {(one.name, one.told) for one in found}
        others = (one for one in _check(profile.artefacts) if (one.name, one.told) not in known)
        found += [replace(one, name=f"artefacts: {one.name}") for one in others]
    return found


def _check(profile: Profile) -> list[Check]:
    try:
        known = partitions()
        names = chosen(profile.partition, known)
        wrong = [name for name in names if name not in known]
        if wrong or not names:
            asked = ", ".join(wrong) or "none given, and the cluster has no default"
            return [
                Check("partition", False, f"{asked}. The cluster has {', '.join(sorted(known))}")
            ]
        asked_for = {name: known[name] for name in names}
        nodes = nodes_of(names)
        settings = commands.settings()
    except ClusterError as error:
        return [Check("Slurm", False, str(error))]
    states = {name: facts.get("State", "UP") for name, facts in asked_for.items()}
    told = ", ".join(f"{name} ({state})" for name, state in states.items())
    return [
        Check("partition", "UP" in states.values(), f"{told}, {len(nodes)} nodes"),
        _time(profile, asked_for, settings),
        _node(profile, list(asked_for.values()), nodes),
        *_idle_gpus(profile),
        *_associations(profile),
        *_reservation(profile),
        _arrays(profile, settings),
    ]


def _time(
    profile: Profile, asked_for: dict[str, dict[str, str]], settings: dict[str, str]
) -> Check:
    """Return whether a job may be as long as it may ask to be; one partition suffices for that."""
    limits = {name: facts.get("MaxTime", UNLIMITED) for name, facts in asked_for.items()}
    fits = [
        limit == UNLIMITED or profile.max_minutes <= seconds_of(limit) // 60
        for limit in limits.values()
    ]
    is_fine = all(fits) if settings.get("EnforcePartLimits") == "ALL" else any(fits)
    told = ", ".join(f"{name}'s is {limit}" for name, limit in limits.items())
    return Check("time", is_fine, f"max_minutes = {profile.max_minutes}; {told}")


def _node(profile: Profile, asked_for: Sequence[dict[str, str]], nodes: Sequence[Node]) -> Check:
    """Return whether a node could ever run a job of the profile."""
    wanted = (
        f"{profile.cpus} CPUs, {profile.memory_gb:g} GB, {profile.gpus} GPUs"
        + (f", {profile.constraint}" if profile.constraint else "")
    )  # fmt: skip
    allowed = memory_limit_gb(asked_for, ())
    if profile.memory_gb > allowed:
        return Check("node", False, f"a job may not have {wanted}: at most {allowed:.3g} GB")
    try:
        fitting = usable(profile, nodes)
    except ClusterError as error:
        return Check("node", False, f"exclude = {profile.exclude}: {error}")
    if not fitting:
        most = max(nodes, key=lambda node: (node.gpus, node.cpus, node.memory_mb), default=None)
        has = (
            f"{most.name} has {most.cpus} CPUs, {most.memory_mb / 1024:.3g} GB, {most.gres}"
            if most
            else "the partition has no node"
        )
        return Check("node", False, f"no node has {wanted}; {has}")
    up = [node for node in fitting if node.is_up]
    return Check("node", bool(up), f"{len(up)} of {len(fitting)} nodes with {wanted} are up")


def _idle_gpus(profile: Profile) -> Iterator[Check]:
    used = profile.gpus_per_cell
    if profile.gpus > used:
        told = f"a job has {profile.gpus} and a cell trains on {used}. Set gpus_per_cell"
        yield Check("GPUs", False, told)


def _associations(profile: Profile) -> Iterator[Check]:
    if profile.account is None and profile.qos is None:
        return
    try:
        text = commands.ask(
            "sacctmgr", "--noheader", "--parsable2", "show", "associations",
            f"user={getpass.getuser()}", "format=account,qos",
        )  # fmt: skip
    except ClusterError:
        yield Check("account, qos", True, "not looked at: this cluster keeps no accounts")
        return
    pairs = [line.split("|") for line in text.splitlines() if line]
    accounts = {account for account, _ in pairs}
    qualities = {quality for _, told in pairs for quality in told.split(",") if quality}
    for name, asked, known in (
        ("account", profile.account, accounts),
        ("qos", profile.qos, qualities),
    ):
        if asked is not None:
            told = f"{asked}; yours: {', '.join(sorted(known)) or 'none'}"
            yield Check(name, asked in known, told)


def _reservation(profile: Profile) -> Iterator[Check]:
    if profile.reservation is None:
        return
    try:
        commands.ask("scontrol", "show", "reservation", profile.reservation)
    except ClusterError as error:
        yield Check("reservation", False, str(error))
    else:
        yield Check("reservation", True, profile.reservation)


def _arrays(profile: Profile, settings: dict[str, str]) -> Check:
    told = settings.get("MaxArraySize", "")
    largest = int(told) if told.isdigit() else 0
    fits_in = not largest or profile.max_array_size <= largest
    return Check("arrays", fits_in, f"max_array_size = {profile.max_array_size}; Slurm's: {told}")
