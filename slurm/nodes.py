"""Nodes and partitions, as scontrol and sinfo tell of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurm import commands

if TYPE_CHECKING:
    from slurm.profiles import Profile

_NODES = "%N|%c|%m|%G|%T|%f"
_AWAY = ("down", "drain", "fail", "unk", "maint", "inval")
UNLIMITED = "UNLIMITED"


@dataclass(frozen=True)
class Node:
    """A node of the profile's partition, as sinfo tells of it."""

    name: str
    cpus: int
    memory_mb: int
    gpus: int
    gres: str
    state: str
    features: frozenset[str]

    @property
    def is_up(self) -> bool:
        """Whether jobs can run on it, now or later."""
        return not self.state.startswith(_AWAY)


def partitions() -> dict[str, dict[str, str]]:
    """Return what scontrol tells of each partition; raise a ClusterError."""
    text = commands.ask("scontrol", "show", "partition", "--oneliner")
    found = {}
    for line in text.splitlines():
        facts = dict(part.split("=", 1) for part in line.split() if "=" in part)
        if "PartitionName" in facts:
            found[facts["PartitionName"]] = facts
    return found


def chosen(partition: str | None, known: dict[str, dict[str, str]]) -> list[str]:
    """Return the partitions that a job may go to: those named, or else the cluster's default."""
    if partition is not None:
        return [name.strip() for name in partition.split(",") if name.strip()]
    return [name for name, facts in known.items() if facts.get("Default") == "YES"]


def nodes_of(names: Sequence[str]) -> list[Node]:
    """Return the nodes of partitions, each once; raise a ClusterError."""
    text = commands.ask(
        "sinfo", "--noheader", "--Node", f"--partition={','.join(names)}", "-o", _NODES
    )
    lines = dict.fromkeys(line for line in text.splitlines() if line)
    return list({node.name: node for node in map(_parsed, lines)}.values())


def hostnames(listed: str) -> frozenset[str]:
    """Return the names of nodes that Slurm's short form lists (``node[1-3,7]``)."""
    if not listed:
        return frozenset()
    return frozenset(commands.ask("scontrol", "show", "hostnames", listed).split())


def usable(profile: Profile, nodes: Sequence[Node]) -> list[Node]:
    """Return the nodes that could ever run a job of a profile; raise a ClusterError."""
    excluded = hostnames(profile.exclude or "")
    return [node for node in nodes if node.name not in excluded and _fits(profile, node)]


def _fits(profile: Profile, node: Node) -> bool:
    """Return whether a node has what a profile asks for; only plain constraints are looked at."""
    plain = profile.constraint is None or not re.search(r"[|*\[(]", profile.constraint)
    features = set(re.split("[&,]", profile.constraint or "")) - {""} if plain else set()
    return (
        node.cpus >= profile.cpus
        and node.memory_mb >= profile.memory_gb * 1024
        and node.gpus >= profile.gpus
        and _has_kind(profile.gres, node.gres)
        and features <= node.features
    )


def _has_kind(wanted: str | None, has: str) -> bool:
    """Return whether a node has GPUs of the kind that ``gpu:kind:count`` names."""
    kinds = [part.split(":")[1] for part in (wanted or "").split(",") if part.count(":") == 2]
    return all(f":{kind}:" in f":{has}:" or f":{kind}(" in has for kind in kinds)


def _parsed(line: str) -> Node:
    name, cpus, memory, gres, state, features = line.split("|")
    counts = re.findall(r"(?:^|,)gpu(?::[^:,()]+)?:([0-9]+)", gres)
    return Node(
        name=name,
        cpus=int(cpus),
        memory_mb=int(memory),
        gpus=sum(map(int, counts)),
        gres=gres,
        state=state,
        features=frozenset(features.split(",")),
    )
