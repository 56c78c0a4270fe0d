"""Diversity of a bin: how well a discriminator tells its images apart, trained or as released."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from methods.parts.embeddings import Extractor, extract
from methods.parts.views import COLOUR, ROTATION_DEG, Crops, Views

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.arrays import Arrays, Float32Array
    from bench.contract import Artefact, Context, ImageDataset

EPOCHS = 10
BATCH = 256
HIDDEN = 512
WIDTH = 128
LEARNING_RATE = 1e-3
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
            views = Views.draw(train.images, ctx.seed("views"))
            statistics = self.extractor.statistics(loaded, train)
            seen = extract(loaded, views, statistics, ctx, "discriminator")
            width = sum(part.shape[1] for part in seen)
            pairs = np.empty((2, len(train), width), dtype=np.float32)
            np.concatenate([embeddings["features"], embeddings["intermediate"]], 1, out=pairs[0])
            np.concatenate(seen, axis=1, out=pairs[1])
            del seen  # of a large set a gigabyte, and the head's own follows
            return self._train_head(pairs, ctx)

        inputs = [network, embeddings]
        return ctx.artefact("discriminator", make, inputs=inputs, params=params, version=2)

    def _train_head(self, features: Float32Array, ctx: Context) -> Arrays:
        """Train on features of images and of their views, float32 [2, N, d]."""
        import torch
        from torch import nn
        from torch.nn import functional

        from bench.optimizers import eager
        from bench.training import deterministic

        generator = torch.Generator().manual_seed(ctx.seed("discriminator", "order"))
        with torch.random.fork_rng(devices=[]), deterministic():
            torch.manual_seed(ctx.seed("discriminator", "initialisation"))
            width = features.shape[2]
            head = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))
            head = head.to(ctx.device)
            pairs = torch.from_numpy(features).to(ctx.device)
            optimizer = eager(torch.optim.Adam)(head.parameters(), lr=LEARNING_RATE)
            for epoch in range(EPOCHS):
                order = torch.randperm(pairs.shape[1], generator=generator).to(ctx.device)
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
                split = torch.split(pairs, _BLOCK, dim=1)
                blocks = [functional.normalize(head(block), dim=2) for block in split]
                vectors = torch.cat(blocks, dim=1).cpu().numpy()
        return {"anchors": vectors[0], "positives": vectors[1]}


@dataclass(frozen=True)
class UntrainedHead:
    """The released ``diversity.py:25-39,145-176``: two random crops under a head as initialised.

    Penultimate features of the extractor, at the images' own size, go through a perceptron of two
    layers that is never trained. Colour images of any data set are normalised by the script's
    constants, which are CIFAR-10's: it knows no other set. Grey ones by the training split's.

    Notes
    -----
    Differs from the released code in that the crops and the head are drawn from the selection
    seed (they are not seeded there), and in working batch by batch.
    """

    extractor: Extractor

    def vectors(self, train: ImageDataset, ctx: Context) -> Artefact:
        """Return the artefact with ``anchors`` and ``positives``, unit float32 [N, 128] each."""
        network = self.extractor.network(train, ctx)

        def make() -> Arrays:
            from bench.augment import Normalisation
            from bench.normalising import VALIDATE_CIFAR

            loaded = self.extractor.load(network, train, ctx)
            loaded.take_size(train.shape[:2])
            is_colour = train.shape[2] == 3
            statistics = VALIDATE_CIFAR if is_colour else Normalisation.of(train.images)
            head = self._head(ctx)
            views: Arrays = {}
            for name in ("anchors", "positives"):
                crops = Crops.draw(len(train), train.shape[:2], ctx.seed("gram", name))
                seen, _ = extract(loaded, train.images, statistics, ctx, "diversity", crops.apply)
                views[name] = head(seen)
            return views

        params = {"head": "untrained", "width": WIDTH}
        return ctx.artefact("gram vectors", make, inputs=[network], params=params, version=3)

    @staticmethod
    def _head(ctx: Context) -> Callable[[Float32Array], Float32Array]:
        import torch
        from torch import nn
        from torch.nn import functional

        def apply(features: Float32Array) -> Float32Array:
            width = features.shape[1]
            with torch.random.fork_rng(devices=[]), torch.inference_mode():
                torch.manual_seed(ctx.seed("gram", "head"))
                head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, WIDTH))
                blocks = torch.split(torch.from_numpy(features), _BLOCK)
                vectors = torch.cat([functional.normalize(head(b), dim=1) for b in blocks])
                unit: Float32Array = vectors.numpy()
            return unit

        return apply


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


def gram_diversity(anchors: Float32Array, positives: Float32Array) -> float:
    r"""Return the released diversity of one bin (``diversity.py:173-175``).

    The inverse of the mean cosine of all pairs of the bin's vectors, both views of an image and
    an image with itself included: :math:`(2 n)^2 / \| \sum_i a_i + p_i \|^2`, which needs no
    matrix of pairs. A bin without images has diversity 0.

    Parameters
    ----------
    anchors, positives : float32 [n, d]
        Unit vectors of two views of the bin's images.
    """
    if not len(anchors):
        return 0.0
    total = anchors.sum(axis=0, dtype=np.float64) + positives.sum(axis=0, dtype=np.float64)
    return float((2 * len(anchors)) ** 2 / (total @ total))
