"""Embeddings: what a small network trained on the training split, or a pretrained one, sees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bench.errors import UsageError
from bench.models import MODELS
from bench.protocols import Cpu
from methods.parts.gradients import fresh_head, logits_of, loss_residuals

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from bench.arrays import Arrays, Float32Array, Pixels
    from bench.augment import Normalisation
    from bench.contract import Artefact, Context, ImageDataset
    from bench.models import Model
    from bench.models.networks import Network
    from bench.protocols import Protocol as Recipe

_BATCH = 250


class Blocks(Protocol):
    """Images that are looked at block by block: an array, or what decodes or makes them then."""

    def __len__(self) -> int:
        """Return their number."""

    def __getitem__(self, chosen: slice, /) -> Pixels:
        """Return some of them, [n, H, W, C]."""


@dataclass(frozen=True)
class Extractor:
    """The network that a method looks at images with.

    Parameters
    ----------
    spec : str
        A model as in ``--models``; one with pretrained weights is used as it is.
    epochs : int
        Epochs of training on the training split, for one without; 0 leaves the initial weights.
    normalisation : {"own", "data"}
        Channel statistics of what a pretrained network was trained on, or of the training split.

    Notes
    -----
    DQ says 10 epochs (issue 13 of its repository); its README uses ImageNet weights and none.
    Training does not augment: what leaves the label unchanged differs between data sets, and a
    mirrored digit or letter is another one.
    """

    spec: str
    epochs: int
    normalisation: str = "own"

    @property
    def model(self) -> Model:
        """The model that the spec names."""
        return MODELS.make_one(self.spec)

    @property
    def recipe(self) -> Recipe:
        """How the network is trained.

        Notes
        -----
        The settings of a protocol, so that nothing about training is said twice. Whoever changes
        them there changes what methods select under all protocols: the artefacts' ids change with
        the recipe, the cells' do not. Raise the versions of the methods that train by it.
        """
        return Cpu(epochs=self.epochs, augmentation="none", test_every=self.epochs)

    def network(self, train: ImageDataset, ctx: Context) -> Artefact:
        """Return the artefact with the network's weights, by their names."""
        is_trained = self.is_seeded and self.epochs > 0
        recipe = self.recipe.identity() if is_trained else None
        params = {"model": self.model.identity(), "recipe": recipe}
        make = partial(self._weights, train, ctx)
        return ctx.artefact("extractor", make, params=params, seeded=self.is_seeded)

    def embeddings(
        self, train: ImageDataset, ctx: Context, images: Artefact | None = None
    ) -> Artefact:
        """Return the artefact with the images' features.

        ``features`` are the penultimate ones, float32 [N, d]; ``intermediate`` the pooled ones
        of the earlier stages, float32 [N, e].

        Parameters
        ----------
        images : Artefact, optional
            What is looked at instead of the training images, its ``images`` uint8 [N, H, W, C]:
            for example their reconstructions. The network and its normalisation are those of the
            training images.
        """
        network = self.network(train, ctx)
        inputs = [network] if images is None else [network, images]
        replaces_own = self.normalisation == "data" and not self.is_seeded
        params = {"normalisation": "data"} if replaces_own else {}

        def make() -> Arrays:
            loaded = self.load(network, train, ctx)
            seen = train.images if images is None else images["images"]
            statistics = self.statistics(loaded, train)
            features, intermediate = extract(loaded, seen, statistics, ctx, "embeddings")
            return {"features": features, "intermediate": intermediate}

        return ctx.artefact("embeddings", make, inputs=inputs, params=params, seeded=self.is_seeded)

    def residuals(
        self, train: ImageDataset, ctx: Context, embeddings: Artefact, loss: str, head: str
    ) -> Artefact:
        r"""Return the artefact with ``residuals``, the loss's gradients by the logits.

        Float32 [N, C]. With the features :math:`h` and a residual :math:`b`, the gradient of the
        loss by the last layer is :math:`[b, b \otimes h]` (DQ's ``submodular.py:64-75``).

        Parameters
        ----------
        embeddings : Artefact
            What :meth:`embeddings` gave; all losses and heads share it.
        loss : {"cross-entropy", "double-softmax"}
            As in :func:`methods.parts.gradients.loss_residuals`.
        head : {"trained", "random"}
            The extractor's own last layer, or a linear one with torch's initial weights, drawn
            from the selection seed. timm gives a pretrained network a new last layer where the
            classes' number differs.
        """
        network = self.network(train, ctx)
        is_random = head == "random"

        def make() -> Arrays:
            features = embeddings["features"]
            classes = len(train.classes)
            if is_random:
                classify = fresh_head(features.shape[1], classes, ctx.seed("head"))
            else:
                classify = self.load(network, train, ctx).classify
            logits = logits_of(classify, features, ctx.device if not is_random else "cpu")
            return {"residuals": loss_residuals(logits, train.labels, loss)}

        return ctx.artefact(
            "residuals",
            make,
            inputs=[embeddings] if is_random else [embeddings, network],
            params={"loss": loss, "head": head},
            seeded=self.is_seeded or is_random,
        )

    def load(self, weights: Artefact, train: ImageDataset, ctx: Context) -> Network:
        """Return the network with an artefact's weights, in evaluation mode, on the device."""
        import torch

        network = self._built(partial(self.model.build, train.shape, len(train.classes)))
        names = network.state_dict().keys()
        network.load_state_dict({name: torch.from_numpy(weights[name].copy()) for name in names})
        return network.to(torch.device(ctx.device)).to(memory_format=torch.channels_last).eval()

    def _built(self, build: Callable[[], Network]) -> Network:
        import torch

        try:
            with torch.random.fork_rng(devices=[]):  # a network draws its initial weights
                return build()
        except UsageError as error:
            raise UsageError(
                f"extractor {self.spec}: {error}; or name another extractor, for example "
                "extractor=resnet8 with extractor_epochs=10"
            ) from error

    @property
    def is_seeded(self) -> bool:
        """Whether its weights depend on the selection seed."""
        return not self.model.uses_pretrained_weights

    def statistics(self, network: Network, train: ImageDataset) -> Normalisation:
        """Return what the network's inputs are normalised with."""
        from bench.augment import Normalisation

        own = network.own_normalisation if self.normalisation == "own" else None
        return own or Normalisation.of(train.images)

    def _weights(self, train: ImageDataset, ctx: Context) -> Arrays:
        from bench import training

        if not self.is_seeded:
            # the seed is for the last layer, which timm may have to make anew
            network = self._built(partial(training.fresh_network, self.model, train, 0))
            ctx.tell("weights", network.pretrained)
        elif self.epochs == 0:
            network = training.fresh_network(self.model, train, ctx.seed("extractor"))
        else:
            network = self._trained(train, ctx)
        state = network.state_dict()
        return {name: tensor.detach().cpu().numpy() for name, tensor in state.items()}

    def _trained(self, train: ImageDataset, ctx: Context) -> Network:
        import torch

        from bench import training
        from bench.augment import Normalisation
        from bench.jobs import Job

        job = Job(
            model=self.model,
            protocol=self.recipe,
            train=train,
            test=None,
            normalisation=Normalisation.of(train.images),
            seed=ctx.seed("extractor"),
            device=ctx.device,
        )
        with torch.random.fork_rng(devices=[]):
            network, curve = training.run(job, ctx.checkpoint(), partial(ctx.progress, "extractor"))
        ctx.charge(curve.before_s, curve.elsewhere_s)
        return network


def extract(
    network: Network,
    images: Blocks,
    normalisation: Normalisation,
    ctx: Context,
    stage: str,
    change: Callable[[Tensor, slice], Tensor] | None = None,
) -> tuple[Float32Array, Float32Array]:
    """Return the penultimate and the intermediate features of images, float32 [N, d], [N, e].

    Parameters
    ----------
    images : uint8 or float32 [N, H, W, C]
        The training images, or what stands for them; only blocks of them are in memory.
    normalisation : Normalisation
        Of the images.
    change : callable, optional
        Makes what the network sees of a normalised batch, float32 [B, C, H, W], at a slice.
    """
    import torch

    from bench.augment import DeviceImages
    from bench.models.small_maps import SmallMaps

    device = torch.device(ctx.device)
    found: tuple[Float32Array, ...] = ()
    with torch.inference_mode(), SmallMaps():
        for start in range(0, len(images), _BATCH):
            stop = min(start + _BATCH, len(images))
            block = images[start:stop]  # decoded on demand where they do not fit
            labels = np.zeros(len(block), dtype=np.int64)
            batch = DeviceImages(block, labels, normalisation, device).plain(0, len(block))
            features = network.features(change(batch, slice(start, stop)) if change else batch)
            parts = [part.float().cpu() for part in (features.penultimate, features.intermediate)]
            if not found:  # in place: of a large set two copies would not fit
                found = tuple(np.empty((len(images), part.shape[1]), np.float32) for part in parts)
            for whole, part in zip(found, parts, strict=True):
                whole[start:stop] = part
            ctx.progress(stage, stop, len(images))
    penultimate, intermediate = found
    return penultimate, intermediate
