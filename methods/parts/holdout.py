"""Learners that are judged on a held-out part of the training split; the test split is not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.budgets import Budget
from bench.errors import UsageError
from bench.models import MODELS
from bench.protocols import Cpu, Protocol
from methods.parts.draws import lowest_by_class, uniform_by_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.arrays import Arrays, FloatArray, IntArray, Pixels
    from bench.contract import Artefact, Context, ImageDataset
    from bench.models import Model


class Draw(NamedTuple):
    """What a learner is trained on.

    Parameters
    ----------
    order : float64 [N]
        Of all images, lowest first.
    counts : int64 [S]
        How many to take of each stratum in that order, of those not held out; all of them where
        there are fewer.
    strata : int64 [N], optional
        The stratum of each image; by default its class.
    """

    order: FloatArray
    counts: IntArray
    strata: IntArray | None = None


@dataclass(frozen=True)
class Learners:
    """Small networks, each trained on a draw and judged on its own held-out part.

    Parameters
    ----------
    spec : str
        A model as in ``--models``; pretrained weights are what its training starts from.
    epochs : int
        Epochs of training.
    count : int
        Learners of one draw; what they get right is added up. Each has its own held-out part,
        draw and initial weights.
    share : float
        The held-out share of each class, in 0 ... 1.

    Notes
    -----
    The recipe is that of :class:`methods.parts.embeddings.Extractor`: nothing is augmented. All
    of this is our choice; DQAS does not tell how it judges.
    """

    spec: str
    epochs: int
    count: int
    share: float

    @property
    def model(self) -> Model:
        """The model that the spec names."""
        return MODELS.make_one(self.spec)

    @property
    def recipe(self) -> Protocol:
        """How a learner is trained.

        Spelt by a protocol, with the consequences that
        :attr:`methods.parts.embeddings.Extractor.recipe` tells.
        """
        return Cpu(epochs=self.epochs, augmentation="none", test_every=self.epochs)

    def held_out(self, train: ImageDataset, number: int, ctx: Context) -> IntArray:
        """Return the positions that a learner is judged on and not trained on, class by class.

        They are the same share of every class, at least one image and at most all but one; a
        class of one image has none. The draw follows the images' keys.
        """
        drawn = uniform_by_key(train, ctx.generator("held-out", number))
        sizes = train.class_counts
        wanted = np.maximum(np.floor(self.share * sizes + 0.5).astype(np.int64), 1)
        return lowest_by_class(train.labels, drawn, np.minimum(wanted, np.maximum(sizes - 1, 0)))

    def at_ratio(self, percent: float, train: ImageDataset, ctx: Context) -> list[Artefact]:
        """Return an artefact for each learner of a class-balanced random draw.

        Parameters
        ----------
        percent : float
            Size of the draw, of the training split: every class gives the same share of its
            images, at least one. Draws of one learner at several ratios are nested.
        """

        def draw(number: int) -> Draw:
            order = uniform_by_key(train, ctx.generator("learner draw", number))
            counts = Budget.parse(str(percent)).images_by_class(train.class_counts)
            return Draw(order, np.maximum(counts, 1))

        return self.of_draw(draw, train, ctx, params={"percent": percent})

    def of_draw(
        self,
        draw: Callable[[int], Draw],
        train: ImageDataset,
        ctx: Context,
        *,
        params: Mapping[str, Any],
        inputs: Sequence[Artefact] = (),
        images: Callable[[], Pixels] | None = None,
    ) -> list[Artefact]:
        """Return an artefact for each learner of a draw.

        Each holds, as int64 [C], ``right``: held-out images of each class that were classified
        rightly; ``judged``: all of them; ``trained``: images that the learner was trained on.
        A draw with strata of its own also leaves ``strata_right``, ``strata_judged`` and
        ``strata_trained``, int64 [S]. Training goes on from its last epoch after an interruption.

        Parameters
        ----------
        draw : callable
            Gives the draw for the learner's number.
        params, inputs
            What tells the draw from others, as in :meth:`bench.contract.Context.artefact`.
        images : callable, optional
            Gives what the learners are trained on instead of ``train.images``; they are judged
            on the latter always, as the test split will be.
        """
        told = {
            "model": self.model.identity(),
            "recipe": self.recipe.identity(),
            "share": self.share,
            **params,
        }

        def make(number: int) -> Arrays:
            return self._judged(draw(number), number, images, train, ctx)

        return [
            ctx.artefact(
                "learner", partial(make, number), inputs=inputs, params={**told, "number": number}
            )
            for number in range(self.count)
        ]

    def _judged(
        self,
        draw: Draw,
        number: int,
        images: Callable[[], Pixels] | None,
        train: ImageDataset,
        ctx: Context,
    ) -> Arrays:
        from bench import training
        from bench.augment import Normalisation
        from bench.jobs import Job

        held_out = self.held_out(train, number, ctx)
        if not len(held_out):
            raise UsageError(
                "no class has an image to spare for judging the learners. "
                "Give at least one class two images, or another method"
            )
        seen = _taken(draw, held_out, train.labels)
        learnt, judge = train.subset(seen), train.subset(held_out)
        if images is not None:
            learnt = replace(learnt, images=images()[seen])
        job = Job(
            model=self.model,
            protocol=self.recipe,
            train=learnt,
            test=judge,
            normalisation=Normalisation.of(learnt.images),
            seed=ctx.seed("learner", number),
            device=ctx.device,
        )
        network, curve = training.run(job, ctx.checkpoint(), partial(ctx.progress, "learner"))
        ctx.charge(curve.before_s, curve.elsewhere_s)
        counted: Arrays = {
            "right": np.array(curve.tests[self.epochs], dtype=np.int64),
            "judged": judge.class_counts,
            "trained": learnt.class_counts,
        }
        if draw.strata is None:
            return counted
        is_right = training.guesses(network, job) == judge.labels
        parts = {"right": held_out[is_right], "judged": held_out, "trained": seen}
        by_stratum: Arrays = {
            f"strata_{name}": np.bincount(draw.strata[part], minlength=len(draw.counts))
            for name, part in parts.items()
        }
        return counted | by_stratum


def sensitivity(
    learners: Learners, percents: Sequence[float], train: ImageDataset, ctx: Context
) -> Artefact:
    """Return the artefact with what learners get right after draws of several sizes.

    ``right`` is int64 [R, C], by ratio and class; ``judged`` int64 [C], the held-out images
    behind each; ``trained`` int64 [R, C]. All are sums over the learners.
    """
    by_ratio = [learners.at_ratio(percent, train, ctx) for percent in percents]

    def make() -> Arrays:
        return {
            "right": np.stack([total(one, "right") for one in by_ratio]),
            "judged": total(by_ratio[0], "judged"),
            "trained": np.stack([total(one, "trained") for one in by_ratio]),
        }

    inputs = [learner for one in by_ratio for learner in one]
    return ctx.artefact("sensitivity", make, inputs=inputs, device="cpu")


def total(learners: Sequence[Artefact], name: str) -> IntArray:
    """Return the sum of an array over learners."""
    summed: IntArray = np.sum([learner[name] for learner in learners], axis=0, dtype=np.int64)
    return summed


def _taken(draw: Draw, held_out: IntArray, labels: IntArray) -> IntArray:
    """Return the positions that a draw takes of those not held out, ascending."""
    free = (labels if draw.strata is None else draw.strata).copy()
    free[held_out] = -1
    return np.sort(lowest_by_class(free, draw.order, draw.counts))
