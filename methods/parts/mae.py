"""Masked autoencoders for the pixel stage: one trained here, and the published ViT-Large."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bench.weights import WeightsFile
from methods.parts.patches import Edition, PatchGrid

if TYPE_CHECKING:
    from bench.arrays import Arrays
    from bench.contract import Artefact, Context, ImageDataset
    from methods.parts.mae_network import MaskedAutoencoder

BATCH = 64
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
BETAS = (0.9, 0.95)
WARMUP = 0.1
"""Share of the training in which the learning rate rises."""


@dataclass(frozen=True)
class Sizes:
    """Widths, depths and heads of the encoder and of the decoder."""

    width: int = 64
    depth: int = 2
    heads: int = 4
    decoder_width: int = 64
    decoder_depth: int = 1
    decoder_heads: int = 4


SMALL = Sizes()
VIT_LARGE = Sizes(1024, 24, 16, 512, 8, 16)
RELEASED = WeightsFile(
    "mae_visualize_vit_large_ganloss.pth",
    "https://dl.fbaipublicfiles.com/mae/visualize/mae_visualize_vit_large_ganloss.pth",
    side=224,
    # MAE's authors tell no sum. This one stands in a Git LFS pointer of Yiming-M/MAE-AD at
    # 6001cc9, beside a size of 1,318,315,181 bytes. We have compared it with no file of theirs.
    sha256="43aa075e36851bc577d7c5fcb40de500ece09b622c80ae4e9711395a432a3061",
    sha256_from="a copy in Yiming-M/MAE-AD (MAE's authors tell no sum)",
)


@dataclass(frozen=True)
class SmallMae:
    """A masked autoencoder that is trained on the training split at the images' own size.

    Parameters
    ----------
    epochs : int
        Of training. Nobody published such a training; sizes and recipe (AdamW, cosine with
        warm-up, MAE's betas and weight decay, no augmentation) are our choice.
    """

    epochs: int

    def weights(
        self, train: ImageDataset, ctx: Context, share: float, edition: Edition
    ) -> Artefact:
        """Return the artefact with the trained weights by name.

        Parameters
        ----------
        share : float
            Of the patches that are dropped at random while it trains, as the stage will.
        """

        def make() -> Arrays:
            from methods.parts.mae_training import trained

            grid = PatchGrid.native(*train.shape[:2])
            network = trained(self.epochs, grid, grid.kept(share, edition), train, ctx)
            return {name: value.cpu().numpy() for name, value in network.state_dict().items()}

        params = {
            "epochs": self.epochs,
            "drop": share,
            "edition": edition,
            "sizes": asdict(SMALL),
            "training": [BATCH, LEARNING_RATE, WEIGHT_DECAY, *BETAS, WARMUP],
        }
        return ctx.artefact("mae", make, params=params)

    def load(self, weights: Artefact, train: ImageDataset, device: str) -> MaskedAutoencoder:
        """Return the network with an artefact's weights, in evaluation mode, on the device."""
        import torch

        from methods.parts.mae_network import MaskedAutoencoder

        grid = PatchGrid.native(*train.shape[:2])
        with torch.random.fork_rng(devices=[]):  # a network draws its initial weights
            network = MaskedAutoencoder(grid, train.shape[2], SMALL)
        state = {name: torch.from_numpy(weights[name].copy()) for name in network.state_dict()}
        network.load_state_dict(state)
        return network.requires_grad_(False).to(torch.device(device)).eval()
