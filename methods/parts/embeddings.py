"""Embeddings: a small network trained on the training split, or a pretrained one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bench.models import MODELS
from bench.protocols import Cpu, Protocol

if TYPE_CHECKING:
    from bench.arrays import Arrays, Float32Array, Pixels
    from bench.contract import Artefact, Context, ImageDataset
    from bench.models import Model
    from bench.models.networks import Network

_BATCH = 250


@dataclass(frozen=True)
class Extractor:
    """The network that a method looks at images with.

    Parameters
    ----------
    spec : str
        A model as in ``--models``; one with pretrained weights is used as it is.
    epochs : int
        Epochs of training on the training split, for one without.

    Notes
    -----
    DQ says 10 epochs (issue 13 of its repository); its README uses ImageNet weights and none.
    Training does not augment: what leaves the label unchanged differs between data sets, and a
    mirrored digit or letter is another one.
    """

    spec: str
    epochs: int

    @property
    def model(self) -> Model:
        """The model that the spec names."""
        return MODELS.make_one(self.spec)

    @property
    def recipe(self) -> Protocol:
        """How the network is trained."""
        return Cpu(epochs=self.epochs, augmentation="none", test_every=self.epochs)

    def network(self, train: ImageDataset, ctx: Context) -> Artefact:
        """Return the artefact with the network's weights, by their names."""
        params = {"model": self.model.identity(), "recipe": self.recipe.identity()}
        make = partial(self._weights, train, ctx)
        return ctx.artefact("extractor", make, params=params, seeded=self._is_seeded)

    def embeddings(self, train: ImageDataset, ctx: Context) -> Artefact:
        """Return the artefact with the training images' features.

        ``features`` are the penultimate ones, float32 [N, d]; ``intermediate`` the pooled ones
        of the earlier stages, float32 [N, e].
        """
        network = self.network(train, ctx)

        def make() -> Arrays:
            loaded = self.load(network, train, ctx)
            features, intermediate = extract(loaded, train.images, train, ctx, "embeddings")
            return {"features": features, "intermediate": intermediate}

        return ctx.artefact("embeddings", make, inputs=[network], seeded=self._is_seeded)

    def load(self, weights: Artefact, train: ImageDataset, ctx: Context) -> Network:
        """Return the network with an artefact's weights, in evaluation mode, on the device."""
        import torch

        network = self.model.build(train.shape, len(train.classes))
        names = network.state_dict().keys()
        network.load_state_dict({name: torch.from_numpy(weights[name].copy()) for name in names})
        return network.to(torch.device(ctx.device)).to(memory_format=torch.channels_last).eval()

    @property
    def _is_seeded(self) -> bool:
        return not self.model.uses_pretrained_weights

    def _weights(self, train: ImageDataset, ctx: Context) -> Arrays:
        if self.model.uses_pretrained_weights:
            network = self.model.build(train.shape, len(train.classes))
        else:
            network = self._trained(train, ctx)
        state = network.state_dict()
        return {name: tensor.detach().cpu().numpy() for name, tensor in state.items()}

    def _trained(self, train: ImageDataset, ctx: Context) -> Network:
        from bench import training
        from bench.augment import Normalisation

        job = training.Job(
            model=self.model,
            protocol=self.recipe,
            train=train,
            test=None,
            normalisation=Normalisation.of(train.images),
            seed=ctx.seed("extractor"),
            device=ctx.device,
        )
        network, curve = training.run(job, ctx.checkpoint(), partial(ctx.progress, "extractor"))
        ctx.charge(curve.before_s)
        return network


def extract(
    network: Network, images: Pixels, train: ImageDataset, ctx: Context, stage: str
) -> tuple[Float32Array, Float32Array]:
    """Return the penultimate and the intermediate features of images, float32 [N, d], [N, e].

    Parameters
    ----------
    images : uint8 [N, H, W, C]
        The training images, or augmented views of them.
    train : ImageDataset
        Whose statistics normalise the images, for a network without a normalisation of its own.
    """
    import torch

    from bench.augment import DeviceImages, Normalisation

    labels = np.zeros(len(images), dtype=np.int64)
    normalisation = network.own_normalisation or Normalisation.of(train.images)
    on_device = DeviceImages(images, labels, normalisation, torch.device(ctx.device))
    penultimate, intermediate = [], []
    with torch.inference_mode():
        for start in range(0, len(images), _BATCH):
            stop = min(start + _BATCH, len(images))
            features = network.features(on_device.plain(start, stop))
            penultimate.append(features.penultimate.float().cpu().numpy())
            intermediate.append(features.intermediate.float().cpu().numpy())
            ctx.progress(stage, stop, len(images))
    return np.concatenate(penultimate), np.concatenate(intermediate)
