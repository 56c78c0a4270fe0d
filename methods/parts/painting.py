"""Painting dropped patches: a masked autoencoder's output in the place of what was dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench.augment import Normalisation
from bench.normalising import IMAGENET
from methods.parts.mae_network import pad_to

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.arrays import ByteArray, IntArray
    from bench.contract import Context, ImageDataset
    from methods.parts.mae_network import MaskedAutoencoder
    from methods.parts.patches import PatchGrid

_BATCH = 64


def repainted(
    network: MaskedAutoencoder,
    grid: PatchGrid,
    train: ImageDataset,
    kept: IntArray,
    masks: NDArray[np.bool_],
    released: bool,
    ctx: Context,
) -> ByteArray:
    """Return all images with their dropped patches painted, uint8 [N, H, W, C].

    Parameters
    ----------
    network : MaskedAutoencoder
        For patches of the images themselves, or of images resized to fit it.
    kept : int64 [N, k]
        Numbers of the patches that are kept.
    masks : bool [N, total]
        Which patches are kept.
    released : bool
        As ``quantize_pixel.py``: visible pixels go through the resizing too, and the network's
        output stands everywhere when no patch is dropped. Otherwise visible pixels stay.

    Notes
    -----
    Resizing up is bilinear, antialiased where it shrinks, and rounded to whole grey levels: that
    of Pillow to within one level. Resizing back is bilinear without antialiasing, as torchvision
    0.14 does with tensors. A network for colours is given a grey image three times, and the mean
    of what comes back is taken (our choice). The published autoencoders were trained with
    ImageNet's statistics (``quantize_pixel.py``).
    """
    device = next(network.parameters()).device
    statistics = Normalisation.of(train.images) if grid.is_native else IMAGENET
    mean, deviation = (
        255 * torch.tensor(values, device=device).view(1, -1, 1, 1)
        for values in (statistics.mean, statistics.deviation)
    )
    whole = released and kept.shape[1] == grid.total
    images = np.empty(train.images.shape, dtype=np.uint8)
    for start in range(0, len(images), _BATCH):
        rows = slice(start, min(start + _BATCH, len(images)))
        block = torch.from_numpy(train.images[rows]).to(device).permute(0, 3, 1, 2).float()
        canvas = _to_network(block, network, grid)
        with torch.inference_mode():
            ids = torch.from_numpy(kept[rows]).to(device)
            predicted = network((canvas - mean) / deviation, ids)
        painted = network.image(predicted) * deviation + mean
        if released and not whole:
            hidden = torch.from_numpy(~masks[rows]).to(device)[:, :, None]
            patches = torch.where(hidden, network.patches(painted), network.patches(canvas))
            painted = network.image(patches)
        result = _from_network(painted, block, grid)
        if not released:
            visible = torch.from_numpy(grid.visible(masks[rows])).to(device)
            result = torch.where(visible[:, None], block, result)
        pixels = (result + 0.5).clamp(0, 255).to(torch.uint8)
        images[rows] = pixels.permute(0, 2, 3, 1).cpu().numpy()
        ctx.progress("reconstructions", rows.stop, len(images))
    return images


def _to_network(block: Tensor, network: MaskedAutoencoder, grid: PatchGrid) -> Tensor:
    """Return images in the size and number of channels that the network sees."""
    if grid.is_native:
        return pad_to(block, grid)
    size = (grid.rows * grid.side, grid.columns * grid.side)
    resized = functional.interpolate(block, size, mode="bilinear", antialias=True).round()
    return resized.expand(-1, network.channels, -1, -1)


def _from_network(painted: Tensor, block: Tensor, grid: PatchGrid) -> Tensor:
    """Return the network's images in the size and number of channels of the data set's."""
    height, width = block.shape[2:]
    if grid.is_native:
        return painted[:, :, :height, :width]
    if block.shape[1] == 1:
        painted = painted.mean(1, keepdim=True)
    return functional.interpolate(painted, (height, width), mode="bilinear", antialias=False)
