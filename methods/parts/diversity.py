"""Diversity of a bin: how well a contrastive discriminator tells its images apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from methods.parts.embeddings import Extractor, extract

if TYPE_CHECKING:
    from bench.arrays import Arrays, Float32Array, Pixels
    from bench.contract import Artefact, Context, ImageDataset

EPOCHS = 10
BATCH = 256
HIDDEN = 512
WIDTH = 128
LEARNING_RATE = 1e-3
ROTATION_DEG = 15.0
COLOUR = 0.4
_BLOCK = 1024


@dataclass(frozen=True)
class Discriminator:
    """The head that maps an image's features to the vectors whose cosines Eq. 4 compares.

    A two-layer perceptron on the penultimate and the pooled intermediate features of the
    extractor, trained with InfoNCE to tell an image and its random augmentation from other
    images (ADQ, "Diversity score"; after Fang et al. 2021).

    Notes
    -----
    The paper states neither the head's sizes (taken from the released ``MLPHead``: 512, 128)
    nor its training; the constants above are our choice. The released head is never trained.
    """

    extractor: Extractor
    temperature: float

    def vectors(self, train: ImageDataset, ctx: Context) -> Artefact:
        """Return the artefact with ``anchors`` and ``positives``, unit float32 [N, 128] each."""
        network = self.extractor.network(train, ctx)
        embeddings = self.extractor.embeddings(train, ctx)
        params = {
            "temperature": self.temperature,
            "training": [EPOCHS, BATCH, HIDDEN, WIDTH, LEARNING_RATE, ROTATION_DEG, COLOUR],
        }

        def make() -> Arrays:
            loaded = self.extractor.load(network, train, ctx)
            views = augmented_views(train.images, ctx.seed("views"))
            seen = extract(loaded, views, train, ctx, "discriminator")
            anchors = np.concatenate([embeddings["features"], embeddings["intermediate"]], axis=1)
            return self._train_head(anchors, np.concatenate(seen, axis=1), ctx)

        return ctx.artefact("discriminator", make, inputs=[network, embeddings], params=params)

    def _train_head(self, anchors: Float32Array, positives: Float32Array, ctx: Context) -> Arrays:
        import torch
        from torch import nn
        from torch.nn import functional

        from bench.training import deterministic

        generator = torch.Generator().manual_seed(ctx.seed("discriminator", "order"))
        with torch.random.fork_rng(devices=[]), deterministic():
            torch.manual_seed(ctx.seed("discriminator", "initialisation"))
            width = anchors.shape[1]
            head = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))
            head = head.to(ctx.device)
            pairs = torch.from_numpy(np.stack([anchors, positives])).to(ctx.device)
            optimizer = torch.optim.Adam(head.parameters(), lr=LEARNING_RATE)
            for epoch in range(EPOCHS):
                order = torch.randperm(len(anchors), generator=generator).to(ctx.device)
                for index in torch.split(order, BATCH):
                    one, other = functional.normalize(head(pairs[:, index]), dim=2)
                    logits = one @ other.T / self.temperature
                    loss = functional.cross_entropy(
                        logits, torch.arange(len(index), device=logits.device)
                    )
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                ctx.progress("discriminator", epoch + 1, EPOCHS)
            with torch.inference_mode():
                vectors = functional.normalize(head(pairs), dim=2).cpu().numpy()
        return {"anchors": vectors[0], "positives": vectors[1]}


def augmented_views(images: Pixels, seed: int) -> Pixels:
    """Return one randomly rotated, mirrored and recoloured view of each image.

    Parameters
    ----------
    images : uint8 [N, H, W, C]
        The originals. "Rotations, flips, and color adjustments" (ADQ); angles up to 15 degrees
        and factors from 0.6 to 1.4 for brightness and contrast are our choice.
    """
    import torch
    from torch.nn import functional

    generator = torch.Generator().manual_seed(seed)
    views = np.empty_like(images)
    for start in range(0, len(images), _BLOCK):
        block = torch.from_numpy(images[start : start + _BLOCK]).permute(0, 3, 1, 2).float()
        angle, flip, brightness, contrast = torch.rand(4, len(block), generator=generator)
        radians = torch.deg2rad((2 * angle - 1) * ROTATION_DEG)
        mirror = torch.where(flip < 0.5, -1.0, 1.0)
        cosine, sine, zero = torch.cos(radians), torch.sin(radians), torch.zeros_like(radians)
        matrix = torch.stack([mirror * cosine, -sine, zero, mirror * sine, cosine, zero], 1)
        grid = functional.affine_grid(matrix.view(-1, 2, 3), list(block.shape), False)
        turned = functional.grid_sample(block, grid, padding_mode="reflection", align_corners=False)
        mean = turned.mean((1, 2, 3), keepdim=True)
        factors = 1 + COLOUR * (2 * torch.stack([brightness, contrast]) - 1)
        bright, strong = factors[:, :, None, None, None]
        coloured = ((turned - mean) * strong + mean) * bright
        pixels = coloured.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        views[start : start + _BLOCK] = pixels.numpy()
    return views


def diversity(anchors: Float32Array, positives: Float32Array, temperature: float) -> float:
    r"""Return the diversity of one bin (ADQ Eq. 5).

    .. math:: \frac{1}{|S|} \sum_i \log \frac{\exp(\langle a_i, p_i \rangle / \tau)}
        {\frac{1}{|S| - 1} \sum_{j \ne i} \exp(\langle a_i, a_j \rangle / \tau)}

    Parameters
    ----------
    anchors, positives : float32 [n, d]
        Unit vectors of the bin's images and of their augmentations.
    temperature : float
        :math:`\tau > 0`.

    Notes
    -----
    The sign of Eq. 5 is not preserved; here a larger value means that images are easier to tell
    apart, "pulling positives closer and pushing negatives apart". A bin with fewer than two
    images has no negatives and diversity 0.
    """
    count = len(anchors)
    if count < 2:
        return 0.0
    positive = np.einsum("nd,nd->n", anchors, positives, dtype=np.float64) / temperature
    total = 0.0
    for start in range(0, count, _BLOCK):
        rows = slice(start, start + _BLOCK)
        similarity = (anchors[rows] @ anchors.T).astype(np.float64) / temperature
        own = np.arange(len(similarity))
        similarity[own, start + own] = -np.inf
        top = similarity.max(axis=1, keepdims=True)
        negative = np.log(np.exp(similarity - top).sum(axis=1) / (count - 1)) + top[:, 0]
        total += float((positive[rows] - negative).sum())
    return total / count
