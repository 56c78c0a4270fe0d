"""DQAS, reconstructed: bins of reconstructed images, their numbers by active learning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from bench.budgets import Budget, ClassBudget
from bench.components import AddedLater, Between
from bench.contract import CompressedSet, Context, ImageDataset, MethodInfo, register
from bench.errors import UsageError
from bench.models import NamesModel
from methods.dq import DatasetQuantization, split_bins
from methods.parts.draws import priorities
from methods.parts.holdout import Draw, Learners
from methods.parts.selection import EmbeddingMethod
from methods.parts.sensitivity import class_quota, deal_by_reduction, learning_slopes
from methods.parts.strata import BinsOfClasses, Classes, Decision, Strata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arrays import FloatArray, IntArray
    from bench.contract import Artefact
    from bench.weights import Weights
    from methods.parts.pixels import PixelStage
    from methods.parts.strata import Round


@register("dqas")
@dataclass(frozen=True)
class ActiveDatasetQuantization(EmbeddingMethod):
    r"""A reconstruction of DQAS: class by class, add images where the error should fall most.

    Zhao et al. (ECCV 2024, arXiv 2407.07268) released no code; the numbers of their loop could not
    be read. Known from the abstract: classes differ in how much they miss images; active learning
    decides how many each gets; patches are dropped and reconstructed first, and bins are made in
    the feature space of the reconstructed images. The rest is our choice:

    1. All images go through the pixel stage; GraphCut divides the reconstructions into bins.
       Each class is put in an order of which every beginning is spread evenly over the bins.
    2. The first round has the same share ``start`` of every class. Learners are trained from
       scratch on sets of the round's size and judged on a held-out part of the training split.
    3. Each class's held-out error is taken for :math:`e_c (n / n_c)^{-b_c}`, with :math:`b_c` of
       all rounds so far (:func:`methods.parts.sensitivity.learning_slopes`). One image after the
       other goes to the class where the error of the whole held-out part is expected to fall most
       (:func:`methods.parts.sensitivity.deal_by_reduction`), up to the next round or the budget.

    With ``over=bins`` step 3 deals to the bins of every class instead
    (:class:`methods.parts.strata.BinsOfClasses`), and images are drawn from these at random.

    Parameters
    ----------
    bins : int
        M, the number of bins, as in :class:`methods.dq.DatasetQuantization`; not published.
    drop : float
        Share of the patches that are dropped; DQ's 25 %. With 0 the images stay as they are.
    mae, mae_epochs
        What reconstructs, as in :class:`methods.parts.pixels.PixelStage`.
    start : float
        Size of the first round, in percent of the training split; at budgets below it every
        class has the same share.
    growth : float
        By what the size grows from round to round.
    until : float
        Rounds are smaller than this percent of the training split: the papers' largest ratio.
        Budgets above it follow the last round.
    pooling : float
        Weight of the slope that all classes have in common in :math:`b_c`: 0.5 weighs as much as
        two rounds of which the second has 2.7 times the images of the class.
    learner, learner_epochs, learners, holdout
        The learners' model and epochs, how many a round averages, and the held-out share of
        every class, as in :class:`methods.parts.holdout.Learners`.
    extractor, extractor_epochs
        As in :class:`methods.parts.selection.EmbeddingMethod`; its attention is the patches'
        importance.
    over : {"classes", "bins"}
        What is sampled actively: the classes, each of which takes from its bins evenly, or each
        bin of each class. A bin's error is counted on few images: about 100 on CIFAR-10.

    Notes
    -----
    The rounds do not depend on the budget: they are made once for all ratios, which charges each
    for all of them. From ``start`` on, a smaller budget's images are among a larger one's. A
    held-out image may be selected; a learner is trained on as many other images of its class.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="DQAS (a reconstruction, not the authors' algorithm)",
        paper="after Zhao et al., ECCV 2024, arXiv 2407.07268",
        year=2024,
        kind="selection",
        code="none; rounds, learner, estimate and step are our choice",
        reconstruction=True,
    )
    bins: Annotated[int, Between(1, 1000)] = 10
    drop: Annotated[float, Between(0, 0.99)] = 0.25
    mae: Literal["small", "vit-large"] = "small"
    mae_epochs: Annotated[int, Between(1, 10000)] = 20
    start: Annotated[float, Between(0.01, 100)] = 5.0
    growth: Annotated[float, Between(1.05, 100)] = 1.5
    until: Annotated[float, Between(0.01, 100)] = 30.0
    pooling: Annotated[float, Between(0)] = 0.5
    learner: Annotated[str, NamesModel()] = "resnet8"
    learner_epochs: Annotated[int, Between(1, 1000)] = 30
    learners: Annotated[int, Between(1, 100)] = 1
    holdout: Annotated[float, Between(0.01, 0.9)] = 0.2
    over: Annotated[Literal["classes", "bins"], AddedLater()] = "classes"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start >= self.until:
            raise UsageError(
                f"dqas: start={self.start:g} leaves no round below until={self.until:g}. "
                "Lower the one or raise the other"
            )

    @property
    def quick(self) -> Mapping[str, Any]:
        """Fewer steps and rounds, for a check in seconds."""
        return {
            **super().quick,
            "mae_epochs": 1,
            "growth": 3.0,
            "learner": "resnet8[width=8]",
            "learner_epochs": 1,
        }

    @property
    def balanced(self) -> bool:
        """Whether every class keeps its share of the budget."""
        return False

    @property
    def sizes(self) -> list[float]:
        """The rounds' sizes, in percent of the training split."""
        sizes = [self.start]
        while (following := round(sizes[-1] * self.growth, 6)) < self.until:
            sizes.append(following)
        return sizes

    @property
    def stage(self) -> PixelStage | None:
        """What drops patches and reconstructs; None where nothing is dropped."""
        if self.drop == 0:
            return None
        from methods.parts.pixels import PixelStage

        return PixelStage(self.drop, self.network, mae=self.mae, mae_epochs=self.mae_epochs)

    def weights(self) -> tuple[Weights, ...]:
        """Return the pretrained weights of the extractor and of the pixel stage."""
        return super().weights() + (() if self.stage is None else self.stage.weights())

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Return the reconstructions, the bins and the rounds' learners."""
        images = self._reconstructions(train, ctx)
        bins = self._bins_of(train, ctx, images)
        learners = [one for round_ in self._rounds(train, ctx, images, bins) for one in round_]
        return [*([] if images is None else [images]), bins, *learners]

    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return the beginning of each stratum's order, with images as the stage leaves them.

        Raises
        ------
        UsageError
            For a budget that gives the classes' numbers, which are this method's own decision;
            or when the pixel stage's images do not fit into memory.
        """
        if isinstance(budget, ClassBudget):
            raise UsageError("dqas decides itself how many images a class gets. Name another base")
        stage, images = self.stage, self._reconstructions(train, ctx)
        if stage is not None and images is not None:
            each = stage.bytes_each(train)
            budget = budget.for_images_of(each, train.bytes_per_image, len(train))
            images.arrays()  # first: they may be refused
        bins = self._bins_of(train, ctx, images)
        rounds, strata = self._rounds(train, ctx, images, bins), self._strata(train, ctx, bins)
        counts, decisions = self._counts(rounds, budget.images(len(train)), train, strata)
        kept = strata.picks(counts)
        is_kept = np.zeros(len(train), dtype=bool)
        is_kept[kept] = True
        by_bin = tuple(int(is_kept[one].sum()) for one in split_bins(bins))
        selected = CompressedSet(kept, bin_counts=by_bin, notes=strata.notes(decisions))
        if stage is None:
            return selected
        from methods.parts.pixels import with_pixels

        return with_pixels(selected, stage, train, ctx)

    def _reconstructions(self, train: ImageDataset, ctx: Context) -> Artefact | None:
        return None if self.stage is None else self.stage.reconstructions(train, ctx)

    def _bins_of(self, train: ImageDataset, ctx: Context, images: Artefact | None) -> Artefact:
        quantization = DatasetQuantization(
            extractor=self.extractor, extractor_epochs=self.extractor_epochs, bins=self.bins
        )
        return quantization.bins_of(train, ctx, images)

    def _strata(self, train: ImageDataset, ctx: Context, bins: Artefact) -> Strata:
        parts, labels, drawn = split_bins(bins), train.labels, priorities(train, ctx)
        if self.over == "bins":
            return BinsOfClasses.of(parts, labels, drawn, len(train.classes))
        return Classes(labels, spread_order(parts, labels, drawn), train.class_counts)

    def _rounds(
        self, train: ImageDataset, ctx: Context, images: Artefact | None, bins: Artefact
    ) -> list[Round]:
        """Return the learners of every round; those before it decide what it learns from."""
        learners = Learners(self.learner, self.learner_epochs, self.learners, self.holdout)
        loop = {"start": self.start, "growth": self.growth, "pooling": self.pooling}
        told = {} if self.over == "classes" else {"over": self.over}
        rounds: list[Round] = []
        for number, percent in enumerate(self.sizes):

            def draw(
                _: int, earlier: Sequence[Round] = tuple(rounds), percent: float = percent
            ) -> Draw:
                strata = self._strata(train, ctx, bins)
                return strata.draw(self._counts(earlier, _size(percent, train), train, strata)[0])

            earlier = [one for round_ in rounds for one in round_]
            rounds.append(
                learners.of_draw(
                    draw,
                    train,
                    ctx,
                    params={**loop, **told, "round": number},
                    inputs=[bins, *earlier] if images is None else [images, bins, *earlier],
                    images=None if images is None else lambda: images["images"],
                )
            )
        return rounds

    def _counts(
        self, rounds: Sequence[Round], count: int, train: ImageDataset, strata: Strata
    ) -> tuple[IntArray, list[Decision]]:
        """Return the strata's numbers when ``count`` images are kept, and the decisions."""
        sizes = train.class_counts
        steps = [_size(percent, train) for percent in self.sizes]
        now = strata.first(class_quota(np.ones(len(sizes)), sizes, min(count, steps[0])))
        trained: list[FloatArray] = []
        errors: list[FloatArray] = []
        decisions: list[Decision] = []
        for number, round_ in enumerate(rounds):
            if (size := int(now.sum())) >= count:
                break
            trained.append(np.maximum(strata.trained(round_), 1.0))
            errors.append(strata.errors(round_))
            slopes = learning_slopes(np.stack(trained), np.stack(errors), self.pooling)
            following = steps[number + 1] if number + 1 < len(rounds) else count
            more = min(following, count) - size
            now = deal_by_reduction(now, strata.sizes, errors[-1], slopes, more)
            decisions.append(Decision(round_, errors[-1], slopes, now))
        return now, decisions


def _size(percent: float, train: ImageDataset) -> int:
    """Return the images of a round: at least one of each class that has any."""
    classes = int((train.class_counts > 0).sum())
    return max(classes, Budget(Decimal(str(percent))).images(len(train)))


def spread_order(bins: Sequence[IntArray], labels: IntArray, priority: FloatArray) -> FloatArray:
    """Return an order of which every beginning is spread evenly over the bins, float64 [N].

    Within each class; lowest first. The k-th image that is drawn of a bin's n has the place
    (k - 1/2) / n, so that beginnings take from the bins in proportion to what they hold of the
    class (Webster's rule); equal places go by priority.

    Parameters
    ----------
    bins : sequence of int64
        The positions in each bin.
    labels : int64 [N]
        Classes of the images.
    priority : float64 [N]
        In what order a bin's images of a class are drawn, lowest first.
    """
    place = np.empty(len(labels))
    for one in bins:
        for label in np.unique(labels[one]):
            members = one[labels[one] == label]
            ranked = members[np.argsort(priority[members], kind="stable")]
            place[ranked] = (np.arange(len(ranked)) + 0.5) / len(ranked)
    order = np.empty(len(labels))
    order[np.lexsort((priority, place))] = np.arange(len(labels))
    return order
