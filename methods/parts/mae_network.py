"""Masked autoencoder (He et al. 2022): the network and its released checkpoints."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from bench.errors import DamagedFileError

if TYPE_CHECKING:
    from bench.weights import WeightsFile
    from methods.parts.mae import Sizes
    from methods.parts.patches import PatchGrid


class MaskedAutoencoder(nn.Module):
    """Predicts all patches of an image from some of them.

    The encoder sees the kept patches and a class token; the decoder sees its outputs at their
    places and a mask token elsewhere. Parameters have the names of facebookresearch/mae
    (``models_mae.py``), so that its checkpoints load.

    Parameters
    ----------
    grid : PatchGrid
        The patches; ``rows * side`` x ``columns * side`` pixels go in.
    channels : int
        Of the images.
    """

    def __init__(self, grid: PatchGrid, channels: int, sizes: Sizes) -> None:
        super().__init__()
        self.grid = grid
        self.channels = channels
        pixels = (grid.rows * grid.side, grid.columns * grid.side)
        self.patch_embed = PatchEmbed(pixels, grid.side, channels, sizes.width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.pos_embed = _positions(grid, sizes.width)
        self.blocks = _blocks(sizes.width, sizes.depth, sizes.heads)
        self.norm = nn.LayerNorm(sizes.width, eps=1e-6)
        self.decoder_embed = nn.Linear(sizes.width, sizes.decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, sizes.decoder_width))
        self.decoder_pos_embed = _positions(grid, sizes.decoder_width)
        self.decoder_blocks = _blocks(sizes.decoder_width, sizes.decoder_depth, sizes.decoder_heads)
        self.decoder_norm = nn.LayerNorm(sizes.decoder_width, eps=1e-6)
        self.decoder_pred = nn.Linear(sizes.decoder_width, grid.side**2 * channels)

    def initialise(self) -> None:
        """Draw fresh weights from torch's global generator, as ``models_mae.py`` does."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        projection = self.patch_embed.proj.weight
        nn.init.xavier_uniform_(projection.view(len(projection), -1))
        nn.init.normal_(self.cls_token, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)

    @property
    def bytes(self) -> int:
        """Bytes of the parameters."""
        return sum(p.numel() * p.element_size() for p in self.parameters())

    def forward(self, images: Tensor, kept: Tensor) -> Tensor:
        """Return the predicted patches, float [B, total, side * side * C].

        Parameters
        ----------
        images : float [B, C, rows * side, columns * side]
            Normalised.
        kept : int64 [B, k]
            Numbers of the patches that the encoder sees.
        """
        tokens = self.patch_embed(images) + self.pos_embed[:, 1:]
        seen = tokens.gather(1, kept[:, :, None].expand(-1, -1, tokens.shape[2]))
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(images), -1, -1)
        encoded = self.decoder_embed(self.norm(self.blocks(torch.cat([first, seen], dim=1))))
        blank = self.mask_token.expand(len(images), self.grid.total, -1)
        places = kept[:, :, None].expand(-1, -1, encoded.shape[2])
        filled = blank.scatter(1, places, encoded[:, 1:])
        full = torch.cat([encoded[:, :1], filled], dim=1) + self.decoder_pos_embed
        decoded: Tensor = self.decoder_pred(self.decoder_norm(self.decoder_blocks(full)))
        return decoded[:, 1:]

    def patches(self, images: Tensor) -> Tensor:
        """Cut images [B, C, H, W] into patches [B, total, side * side * C], channels last."""
        side, grid = self.grid.side, self.grid
        cut = images.reshape(len(images), self.channels, grid.rows, side, grid.columns, side)
        return cut.permute(0, 2, 4, 3, 5, 1).reshape(len(images), grid.total, -1)

    def image(self, patches: Tensor) -> Tensor:
        """Put patches together again; the inverse of :meth:`patches`."""
        side, grid = self.grid.side, self.grid
        cut = patches.reshape(len(patches), grid.rows, grid.columns, side, side, self.channels)
        return cut.permute(0, 5, 1, 3, 2, 4).reshape(
            len(patches), self.channels, grid.rows * side, grid.columns * side
        )


def load_released(
    file: WeightsFile, grid: PatchGrid, sizes: Sizes, device: str
) -> MaskedAutoencoder:
    """Return a released masked autoencoder, in evaluation mode, on the device.

    Raises
    ------
    DamagedFileError
        When the checkpoint is not one of this network.
    """
    with torch.device("meta"):
        network = MaskedAutoencoder(grid, 3, sizes)
    try:
        network.load_state_dict(file.state(), assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split()).partition(": ")[2][:160]
        raise DamagedFileError(
            f"{file.path} holds other weights than those of {file.name}: {reason}.\n"
            "Put the published file there"
        ) from None
    return network.requires_grad_(False).float().to(torch.device(device)).eval()


def pad_to(images: Tensor, grid: PatchGrid) -> Tensor:
    """Return images [B, C, H, W] continued to whole patches by their last row and column."""
    below = grid.rows * grid.side - images.shape[2]
    right = grid.columns * grid.side - images.shape[3]
    if not below and not right:
        return images
    return nn.functional.pad(images, (0, right, 0, below), mode="replicate")


def _blocks(width: int, depth: int, heads: int) -> nn.Sequential:
    norm: Any = partial(nn.LayerNorm, eps=1e-6)
    return nn.Sequential(
        *(Block(width, heads, mlp_ratio=4.0, qkv_bias=True, norm_layer=norm) for _ in range(depth))
    )


def _positions(grid: PatchGrid, width: int) -> nn.Parameter:
    """Return the fixed sine and cosine embedding of ``util/pos_embed.py``, columns first.

    The class token's is zero.
    """
    frequency = 1 / 10000 ** (np.arange(width // 4) / (width / 4))
    row, column = np.divmod(np.arange(grid.total), grid.columns)
    angles = [np.outer(place, frequency) for place in (column, row)]
    waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    table = np.zeros((1, grid.total + 1, width), dtype=np.float32)
    table[0, 1:] = np.concatenate(waves, axis=1)
    return nn.Parameter(torch.from_numpy(table), requires_grad=False)
