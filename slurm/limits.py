"""Limits: the most that a cluster gives, where a profile leaves that to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from slurm import commands
from slurm.nodes import UNLIMITED, Node, chosen, nodes_of, partitions, usable

if TYPE_CHECKING:
    from slurm.profiles import Profile

_DEFAULT_ARRAY_SIZE = 1001


def array_size(profile: Profile) -> int:
    """Return the tasks that an array may have; Slurm's number is one above the highest index."""
    if profile.max_array_size:
        return profile.max_array_size
    try:
        told = commands.settings().get("MaxArraySize", "")
    except commands.ClusterError:
        told = ""
    return max(1, int(told)) if told.isdigit() else _DEFAULT_ARRAY_SIZE


def most_memory_gb(profile: Profile) -> float:
    """Return the most memory that a job may ask for, in GB; infinite where nobody tells.

    Nodes count that have what else the profile asks for.
    """
    if profile.max_memory_gb:
        return profile.max_memory_gb
    try:
        known = partitions()
        names = [name for name in chosen(profile.partition, known) if name in known]
        nodes = usable(profile, nodes_of(names)) if names else ()
        return memory_limit_gb([known[name] for name in names], nodes)
    except commands.ClusterError:
        return math.inf


def memory_limit_gb(partitions: Sequence[Mapping[str, str]], nodes: Sequence[Node]) -> float:
    """Return what the largest node of these partitions may give a job, in GB."""
    told = [partition.get("MaxMemPerNode", UNLIMITED) for partition in partitions]
    allowed = max((int(one) if one.isdigit() else math.inf for one in told), default=math.inf)
    has = max((node.memory_mb for node in nodes), default=math.inf)
    return min(allowed, has) / 1024
