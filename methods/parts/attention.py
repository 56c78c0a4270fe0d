"""Attention maps of a classifier: Grad-CAM, Grad-CAM++ and what torchcam computes for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.augment import DeviceImages, Normalisation
from bench.errors import UsageError
from bench.models.timm_network import TimmNetwork

if TYPE_CHECKING:
    from bench.arrays import Float32Array
    from bench.contract import ImageDataset
    from bench.models import Model
    from bench.models.networks import Network

Kind = Literal["grad-cam", "grad-cam++", "torchcam"]
Target = Literal["label", "own"]

_BATCH = 64


def attention_maps(
    network: Network,
    train: ImageDataset,
    kind: Kind,
    target: Target,
    device: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Float32Array:
    r"""Return what a network looks at in each image, float32 [N, h, w], at least 0.

    .. math:: M = \mathrm{relu}\Big(\sum_k w_k A_k\Big)

    with the last feature map :math:`A` and :func:`channel_weights` (Selvaraju et al. 2017,
    Eq. 1 and 2; Chattopadhyay et al. 2018, Eq. 19).

    Parameters
    ----------
    network : Network
        In evaluation mode, on the device. Its last map with more than one place is looked at;
        for a vision transformer the tokens that enter its last block.
    train : ImageDataset
        The images; their statistics normalise them for a network without its own.
    kind : {"grad-cam", "grad-cam++", "torchcam"}
        How channels are weighted.
    target : {"label", "own"}
        Whose score is followed back: the image's label, or the network's own guess, as in the
        released ``mae_models.py`` (``get_cam_map``).

    Raises
    ------
    UsageError
        When the network has no map with more than one place.
    """
    normalisation = network.own_normalisation or Normalisation.of(train.images)
    images = DeviceImages(train.images, train.labels, normalisation, torch.device(device))
    network.requires_grad_(False)
    place = _last_map(network, images.plain(0, 1))
    maps = []
    for start in range(0, len(images), _BATCH):
        stop = min(start + _BATCH, len(images))
        with torch.enable_grad(), _leaf_at(place) as leaves:
            logits = network(images.plain(start, stop))
            chosen = logits.argmax(1) if target == "own" else images.labels[start:stop]
            score = logits.gather(1, chosen[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, leaves[0])
        activation, gradient = (_channels_first(t, network) for t in (leaves[0], gradient))
        weights = channel_weights(activation, gradient, kind)
        summed = torch.einsum("bk,bkhw->bhw", weights, activation)
        maps.append(functional.relu(summed).detach().float().cpu().numpy())
        progress(stop, len(images))
    return np.concatenate(maps)


def channel_weights(activation: Tensor, gradient: Tensor, kind: Kind) -> Tensor:
    r"""Return the weights of a map's channels, [B, K].

    Grad-CAM: the mean of the gradient :math:`g` over the places. Grad-CAM++:
    :math:`w_k = \sum_{ij} \alpha_{ij} \mathrm{relu}(g_{ij})` with
    :math:`\alpha_{ij} = g_{ij}^2 / (2 g_{ij}^2 + g_{ij}^3 \sum_{ab} A_{ab})`, 0 where the
    gradient is; the factor exp(score), the same for a whole image, is left out.

    Parameters
    ----------
    activation, gradient : float [B, K, h, w]
        The map and the score's derivative by it.
    kind : {"grad-cam", "grad-cam++", "torchcam"}
        ``torchcam`` is what ``GradCAMpp`` of that library gives, which the released DQ code
        calls: it divides a copy that masked indexing made (``gradient.py``,
        ``alpha[idx][mask].div_``), so that :math:`\alpha_{ij} = g_{ij}^2`.
    """
    if kind == "grad-cam":
        return gradient.mean((2, 3))
    square = gradient**2
    if kind == "grad-cam++":
        below = 2 * square + gradient * square * activation.sum((2, 3), keepdim=True)
        is_safe = below != 0
        square = torch.where(is_safe, square / torch.where(is_safe, below, 1), 0)
    return (square * functional.relu(gradient)).sum((2, 3))


def on_grid(maps: Float32Array, rows: int, columns: int) -> Float32Array:
    """Return maps resized to a grid of patches, float32 [N, rows * columns].

    Bilinear, as the released ``cam_masking``; antialiased where the grid is the coarser one,
    which does not happen there (7 x 7 to 14 x 14).
    """
    resized = functional.interpolate(
        torch.from_numpy(maps)[:, None], (rows, columns), mode="bilinear", antialias=True
    )
    flat: Float32Array = resized.reshape(len(maps), rows * columns).numpy()
    return flat


def pretrained_classifier(model: Model, train: ImageDataset, device: str) -> Network:
    """Return a pretrained network with the classes that it was trained on, on the device."""
    import timm

    architecture: str = model.values()["architecture"]
    configuration: Any = timm.get_pretrained_cfg(architecture)
    if configuration is None or not configuration.num_classes:
        raise UsageError(
            f"{architecture} has no pretrained classifier, so that it has no class scores to "
            "follow back. Choose another extractor, e.g. resnet8"
        )
    with torch.random.fork_rng(devices=[]):  # a network draws its initial weights
        network = model.build(train.shape, configuration.num_classes)
    return network.to(torch.device(device)).to(memory_format=torch.channels_last).eval()


def _last_map(network: Network, image: Tensor) -> nn.Module:
    """Return the module that gives the last map, found by a run on one image."""
    if isinstance(network, TimmNetwork) and hasattr(network.body, "num_prefix_tokens"):
        # With a class token, the last block's other tokens have no influence on the score.
        last: nn.Module = network.body.blocks[-1].norm1
        return last
    found: list[nn.Module] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            height, width = _channels_first(output, network).shape[2:]
            if height * width > 1:
                found.append(module)

    handles = [module.register_forward_hook(note) for module in network.modules()]
    try:
        with torch.no_grad():
            network(image)
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise UsageError(
            f"{type(network).__name__} has no feature map with more than one place for attention "
            f"in images of {image.shape[2]} x {image.shape[3]}. "
            "Choose another extractor, or larger images"
        )
    return found[-1]


@contextmanager
def _leaf_at(place: nn.Module) -> Iterator[list[Tensor]]:
    """Have the graph begin behind a module, so that nothing before it is kept in memory."""
    leaves: list[Tensor] = []

    def cut(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        leaves.append(output.detach().requires_grad_())
        return leaves[-1].clone()  # what follows may change it in place

    handle = place.register_forward_hook(cut)
    try:
        yield leaves
    finally:
        handle.remove()


def _channels_first(output: Tensor, network: Network) -> Tensor:
    """Return a module's output as [B, K, h, w]; timm's maps differ in layout."""
    if not isinstance(network, TimmNetwork):
        return output
    body = network.body
    if output.ndim == 3:
        rows, columns = body.patch_embed.grid_size
        places = output[:, body.num_prefix_tokens :].transpose(1, 2)
        return places.reshape(*places.shape[:2], rows, columns)
    if output.shape[3] == body.num_features != output.shape[1]:
        return output.permute(0, 3, 1, 2)
    return output
