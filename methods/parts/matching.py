"""Distribution matching: synthetic images whose mean features follow those of real ones."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from bench.augment import DeviceImages, Normalisation
from bench.checkpoints import TrainingState, saved_if_possible
from bench.errors import TrainingError, UsageError
from bench.training import deterministic, fresh_network

if TYPE_CHECKING:
    from bench.arrays import Float32Array, IntArray
    from bench.contract import Context, ImageDataset
    from bench.dsa import Draws, SiameseAugmentation
    from bench.models import Model
    from bench.models.networks import Network

CHECKPOINT_EVERY = 250
"""Iterations between checkpoints."""
MOST_LOST_S = 120.0
"""Seconds after which slow updates are saved though they are fewer."""
TELL_EVERY = 10
"""Iterations between looks at the loss, each of which waits for the device."""
BLOCK_PIXELS = {"cpu": 1 << 14, "cuda": 1 << 21}
"""Pixels that go through a network together: on a CPU, what stays in its cache."""


@dataclass(frozen=True)
class Side:
    """The real or the synthetic images of some classes, sorted by class.

    Parameters
    ----------
    take : callable
        Gives the normalised images from one position up to another, float [B, C, H, W].
    counts : tuple of int
        Images of each class, at least 1.
    augmentation, draws
        What is done to the images before they are embedded, with one draw a class.
    """

    take: Callable[[int, int], Tensor]
    counts: tuple[int, ...]
    augmentation: SiameseAugmentation | None = None
    draws: Draws | None = None

    def __len__(self) -> int:
        return sum(self.counts)

    def blocks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (images, positions of their classes), at most ``size`` images at a time."""
        owner = torch.repeat_interleave(torch.tensor(self.counts))
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            yield self.take(start, stop), owner[start:stop]

    def embed(self, images: Tensor, owner: Tensor, network: Network) -> tuple[Tensor, Tensor]:
        """Return the features [B, d] of images, and the images' shares of their classes' means.

        The shares are [classes, B], so that a product of the two adds up to the means.

        Raises
        ------
        UsageError
            For one image alone of which batch normalisation sees a map of one place.
        """
        if self.augmentation is not None and self.draws is not None:
            images = self.augmentation.apply(images, self.draws.take(owner))
        images = images.contiguous(memory_format=torch.channels_last)
        try:
            features = network.features(images).penultimate
        except ValueError as error:  # batch normalisation of a single value
            height, width = images.shape[2:]
            raise UsageError(
                f"dm's network cannot embed {len(images)} image of {height} x {width} ({error}). "
                "Raise the ratio, or name an extractor without batch normalisation"
            ) from error
        is_own = owner == torch.arange(len(self.counts))[:, None]
        shares = is_own / torch.tensor(self.counts, dtype=torch.float64)[:, None]
        return features, shares.to(features.device, features.dtype)

    def means(self, network: Network, block: int) -> Tensor:
        """Return the mean features of each class, float32 [classes, d]."""
        with torch.no_grad():
            parts = (
                shares @ features
                for features, shares in (
                    self.embed(images, owner, network) for images, owner in self.blocks(block)
                )
            )
            total = next(parts)
            for part in parts:
                total += part
        return total


def loss_and_gradient(
    network: Network, real: Side, synthetic: Side, block: int
) -> tuple[Tensor, Tensor]:
    r"""Return :math:`\sum_c |\bar\psi(T_c) - \bar\psi(S_c)|^2` and its gradient in the images of S.

    Parameters
    ----------
    network : Network
        Its penultimate features are :math:`\psi`.
    real, synthetic : Side
        T and S, of the same classes.
    block : int
        Images that are embedded together.

    Notes
    -----
    The gradient in the features of each image of class c is
    :math:`-2 (\bar\psi(T_c) - \bar\psi(S_c)) / |S_c|`. So synthetic images that are too many for
    a block are embedded twice, once for the means and once for the gradient, and no more than
    one block's maps are ever kept.
    """
    target = real.means(network, block)
    gap = None if len(synthetic) <= block else target - synthetic.means(network, block)
    gradients = []
    for images, owner in synthetic.blocks(block):
        leaf = images.detach().requires_grad_()
        features, shares = synthetic.embed(leaf, owner, network)
        if gap is None:
            gap = target - shares @ features.detach()
        pulled = -2 * (shares.T @ gap)
        # as a product: torch imports a package for symbols, half a second, to look at grad_outputs
        gradients.append(torch.autograd.grad((features * pulled).sum(), leaf)[0])
    assert gap is not None, "a side has images"
    return gap.square().sum(), torch.cat(gradients)


@dataclass(frozen=True)
class Matching:
    """The settings of a matching run.

    Parameters
    ----------
    model : Model
        Whose random networks embed the images, a new one every iteration.
    updates : int
        Iterations, each of which changes the images once.
    batch_real : int
        Real images of a class in an iteration, drawn without replacement; all of a smaller class.
    learning_rate, momentum : float
        Of the images in normalised units; the optimizer is SGD.
    augmentation : SiameseAugmentation or None
        One draw for each class and iteration, for its real and its synthetic images.
    normalisation : Normalisation
        What maps pixels to the networks' inputs.
    """

    model: Model
    updates: int
    batch_real: int
    learning_rate: float
    momentum: float
    augmentation: SiameseAugmentation | None
    normalisation: Normalisation


class MatchingRun:
    """Synthetic images while they are matched to a training split.

    All random choices are drawn anew for each iteration from the context's seed and the
    iteration's number, on the CPU: a checkpoint needs no generator's state.

    Parameters
    ----------
    settings : Matching
        How they are matched.
    train : ImageDataset
        The real images.
    counts : int64 [classes]
        Synthetic images of each class; a class without any takes no part.
    start : float32 [K, C, H, W]
        The normalised images to begin with, sorted by class.
    mark : str
        What tells this run from others that may have left a checkpoint in the same place.
    """

    def __init__(
        self,
        settings: Matching,
        train: ImageDataset,
        counts: IntArray,
        start: Tensor,
        ctx: Context,
        mark: str,
    ) -> None:
        self._settings, self._train, self._ctx, self._mark = settings, train, ctx, mark
        self._device = torch.device(ctx.device)
        self._real = DeviceImages(train.images, train.labels, settings.normalisation, self._device)
        labels = [label for label, count in enumerate(counts) if count]
        self._counts = [int(counts[label]) for label in labels]
        every_label = torch.from_numpy(train.labels)
        self._members = [torch.nonzero(every_label == label).flatten() for label in labels]
        self._images = start.to(self._device, copy=True)
        self._velocity = torch.zeros_like(self._images)
        self._losses = torch.zeros(settings.updates, device=self._device)
        self._elsewhere_s = 0.0

    def run(self) -> tuple[Float32Array, Float32Array]:
        """Make all updates, going on from a checkpoint where there is one.

        Returns
        -------
        images : float32 [K, H, W, C]
            The synthetic images, 255 for white, not clipped.
        losses : float32 [updates]
            The loss before each update, summed over the classes.

        Raises
        ------
        TrainingError
            When the loss is not finite.
        """
        done, before_s = self._restored()
        self._ctx.charge(before_s, self._elsewhere_s)
        start, updates = time.perf_counter() - before_s, self._settings.updates
        self._ctx.progress("matching", done, updates)
        saved = time.perf_counter()
        with deterministic():
            for now in range(done + 1, updates + 1):
                self._update(now)
                # the first ones one by one: they tell how long the rest will take
                if now % TELL_EVERY == 0 or now - done < TELL_EVERY or now == updates:
                    self._check(now)
                is_due = now % CHECKPOINT_EVERY == 0 or time.perf_counter() - saved > MOST_LOST_S
                if is_due and now < updates:
                    self._save(now, time.perf_counter() - start)
                    saved = time.perf_counter()
        return self._pixels(), self._losses.cpu().numpy()

    def _update(self, now: int) -> None:
        settings, seed = self._settings, self._ctx.seed
        network = fresh_network(settings.model, self._train, seed("network", now))
        network = network.to(self._device).train().requires_grad_(False)
        index = self._drawn(seed("real", now))
        draws = None
        if settings.augmentation is not None:
            generator = torch.Generator().manual_seed(seed("augmentation", now))
            draws = settings.augmentation.draw(len(self._counts), generator)
        gradient = torch.empty_like(self._images)
        loss = torch.zeros((), device=self._device)
        block = self._block(network)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed("dropout", now))
            for group in groups_within(self._counts, block):
                rows = slice(sum(self._counts[: group.start]), sum(self._counts[: group.stop]))
                shared = None if draws is None else draws.take(torch.arange(len(draws))[group])
                one, gradient[rows] = loss_and_gradient(
                    network,
                    self._side_of_real(index[group], shared),
                    self._side(self._images[rows], self._counts[group], shared),
                    block,
                )
                loss += one
        self._velocity.mul_(settings.momentum).add_(gradient)
        self._images.add_(self._velocity, alpha=-settings.learning_rate)
        self._losses[now - 1] = loss

    def _drawn(self, seed: int) -> list[Tensor]:
        """Draw the positions of each class's real images for one iteration."""
        generator = torch.Generator().manual_seed(seed)
        return [
            members[torch.randperm(len(members), generator=generator)[: self._settings.batch_real]]
            for members in self._members
        ]

    def _side(self, images: Tensor, counts: list[int], draws: Draws | None) -> Side:
        def take(start: int, stop: int) -> Tensor:
            return images[start:stop]

        return Side(take, tuple(counts), self._settings.augmentation, draws)

    def _side_of_real(self, index: list[Tensor], draws: Draws | None) -> Side:
        here = torch.cat(index).to(self._device)
        corner = torch.zeros_like(here)

        def take(start: int, stop: int) -> Tensor:
            rows = slice(start, stop)
            return self._real.augmented(here[rows], corner[rows], corner[rows], None)

        counts = tuple(len(one) for one in index)
        return Side(take, counts, self._settings.augmentation, draws)

    def _block(self, network: Network) -> int:
        """Return how many images are embedded together.

        Batch normalisation looks across images: it gets all classes at once, as the released
        ``main_DM.py`` does for networks with it.
        """
        if any(isinstance(part, _BatchNorm) for part in network.modules()):
            real = sum(min(len(one), self._settings.batch_real) for one in self._members)
            return max(real, len(self._images))
        pixels = math.prod(self._images.shape[2:])
        return max(1, BLOCK_PIXELS.get(self._device.type, BLOCK_PIXELS["cpu"]) // pixels)

    def _check(self, now: int) -> None:
        loss = float(self._losses[now - 1])
        if not math.isfinite(loss):
            raise TrainingError(
                f"the matching loss is {loss} in iteration {now} of {self._settings.updates}. "
                f"Lower lr_img (now {self._settings.learning_rate:g})"
            )
        self._ctx.progress("matching", now, self._settings.updates)

    def _save(self, now: int, seconds: float) -> None:
        tensors = {"images": self._images, "velocity": self._velocity, "losses": self._losses}
        progress = {"mark": self._mark}
        state = TrainingState(now, tensors, progress, seconds, self._elsewhere_s)
        if problem := saved_if_possible(self._ctx.checkpoint(), state):
            self._ctx.tell("unsaved_checkpoint", problem)

    def _restored(self) -> tuple[int, float]:
        """Take up a checkpoint; return its iteration and the seconds spent, or zeros."""
        state = self._ctx.checkpoint().load()
        if state is None or state.progress["mark"] != self._mark:
            return 0, 0.0
        self._images.copy_(state.tensors["images"])
        self._velocity.copy_(state.tensors["velocity"])
        self._losses.copy_(state.tensors["losses"])
        self._elsewhere_s = state.elsewhere_s
        return state.epoch, state.seconds

    def _pixels(self) -> Float32Array:
        images = self._images.double().cpu().permute(0, 2, 3, 1)
        normalisation = self._settings.normalisation
        deviation = torch.tensor(normalisation.deviation, dtype=torch.float64)
        mean = torch.tensor(normalisation.mean, dtype=torch.float64)
        return (255 * (images * deviation + mean)).float().contiguous().numpy()


def groups_within(counts: list[int], most: int) -> list[slice]:
    """Return runs of neighbours whose sum is at most ``most``, or that are one alone."""
    groups, start = [], 0
    for stop in range(1, len(counts) + 1):
        if stop == len(counts) or sum(counts[start : stop + 1]) > most:
            groups.append(slice(start, stop))
            start = stop
    return groups
