"""What a protocol changes in a network before training, and which weights decay; through timm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch.nn import Parameter

    from bench.models.networks import Network
    from bench.protocols import Protocol

_AUXILIARY = "aux_bn"
"""What timm calls the normalisations that are of use in training alone."""


def adapted(network: Network, protocol: Protocol) -> Network:
    """Return the network with a batch normalisation for every look at an image, if asked for."""
    if not protocol.split_norm or protocol.augmentation_splits == 1:
        return network
    from timm import layers

    convert: Any = layers.convert_splitbn_model  # type: ignore[attr-defined]
    divided: Network = convert(network, protocol.augmentation_splits)
    return divided


def tested_parameters(network: Network) -> int:
    """Return the number of parameters that take part in a test."""
    named = network.named_parameters()
    return sum(p.numel() for name, p in named if _AUXILIARY not in name.split("."))


def parameter_groups(
    network: Network, protocol: Protocol
) -> Iterable[Parameter] | list[dict[str, Any]]:
    """Return what the optimizer is given: all parameters alike, or matrices and others."""
    if protocol.decays == "all":
        return network.parameters()
    from timm import optim

    groups: Any = optim.param_groups_weight_decay  # type: ignore[attr-defined]
    divided: list[dict[str, Any]] = groups(network, protocol.weight_decay)
    return divided
