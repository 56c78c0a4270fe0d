"""ADQ: DQ's bins, with shares that follow the bins' texture and diversity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from bench.components import Between
from bench.contract import Context, ImageDataset, Keeps, MethodInfo, register
from bench.errors import UsageError
from methods.dq import DatasetQuantization, split_bins
from methods.parts.allocation import (
    bin_quota,
    bin_shares,
    literal_quota,
    min_max,
    product_shares,
    quota_of_shares,
)
from methods.parts.diversity import Discriminator, UntrainedHead, diversity, gram_diversity
from methods.parts.released import (
    ADQ_IMPORTANCES,
    Segments,
    adq_segment_counts,
    adq_segments,
    fraction_of,
    in_dataset_order,
)
from methods.parts.texture import texture_level

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.arrays import Arrays, Float32Array, FloatArray, IntArray
    from bench.budgets import Budget
    from bench.contract import Artefact
    from methods.parts.draws import Pool

_RELEASED = {
    **DatasetQuantization.presets["released"],
    "class_quota": False,
    "scores": "released",
    "diversity": "gram",
}


@register("adq")
@dataclass(frozen=True)
class AdaptiveDatasetQuantization(DatasetQuantization):
    r"""Draw more from the bins with a higher importance.

    The importance of bin n is :math:`\hat I_n = \hat{Rep}_n + \hat{Div}_n` (ADQ Eq. 8): its mean
    texture level (Eq. 3) and its diversity under a contrastive discriminator (Eq. 4 and 5), each
    scaled to 0 ... 1 over the bins. Its share of the budget is
    :math:`\alpha \hat I_n / \sum \hat I + (1 - \alpha) N(n) / \sum N` (Eq. 9 and 10 in the form
    that meets the budget). ``alpha=0`` and ``scores=none`` are DQ.

    Parameters
    ----------
    edition : {"paper", "literal", "released", "released-intended"}
        The consistent reading of the equations; Eq. 9 and 10 as they are printed, which ignore the
        budget; what the released code does, where ten constants act on position segments
        inside every bin; or those constants acting on the bins, as their file's text has it.
    alpha : float
        Weight of the importance, in 0 ... 1. The paper finds the best between 0.6 and 0.7 and
        chooses it by architecture; the default is the middle for all.
    scores : {"none", "rs", "ds", "rs+ds", "released"}
        Which scores make the importance: representativeness, diversity or both; or the ten
        released constants (``rs+ds`` where there are not ten bins).
    temperature : float
        Of the diversity's similarities; not stated in the paper (released class default 0.07).
    diversity : {"infonce", "gram"}
        Eq. 5, or the inverse mean of a Gram matrix under an untrained head (``diversity.py``).
    shares : {"budget", "literal", "product", "position-segments"}
        What the importances do: shares of the budget; Eq. 9 and 10 as they are printed; shares
        proportional to size times importance; or the same for the ten segments of every bin. With
        ``greedy=released`` the last bin's are in the data set's own order, in which it is saved.
    rounding : {"exact", "floor", "released"}
        The budget is met exactly, by largest remainder; or every bin's (or segment's) number is
        rounded down (Eq. 10), or to the nearest, halves to even (released code).
    bins, class_quota, draw, drop, attention, mae, mae_epochs, alignment
        As in :class:`methods.dq.DatasetQuantization`.
    embedding, loss, head, normalisation, kernel, balance, greedy
        As in :class:`methods.parts.selection.GraphCutMethod`.
    extractor, extractor_epochs
        As in :class:`methods.parts.selection.EmbeddingMethod`.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Adaptive Dataset Quantization",
        paper="Li et al., AAAI 2025, arXiv 2412.16895",
        year=2025,
        kind="selection",
        code="does not weight bins at all: ten constants act on positions within a bin",
        released=True,
    )
    version: ClassVar[int] = 2  # 1 took the vectors of all images at once: other last bits
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "literal": {"shares": "literal"},
        "released": {**_RELEASED, "shares": "position-segments"},
        "released-intended": {**_RELEASED, "shares": "product"},
    }
    edition: Literal["paper", "literal", "released", "released-intended"] = "paper"  # type: ignore[assignment]
    rounding: Literal["exact", "floor", "released"] = "exact"  # type: ignore[assignment]
    alpha: Annotated[float, Between(0, 1)] = 0.65
    scores: Literal["none", "rs", "ds", "rs+ds", "released"] = "rs+ds"
    temperature: Annotated[float, Between(0.001, 100)] = 0.07
    diversity: Literal["infonce", "gram"] = "infonce"
    shares: Literal["budget", "literal", "product", "position-segments"] = "budget"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shares == "position-segments" and self.scores not in ("none", "released"):
            raise UsageError(
                f"{self.name}: shares=position-segments weighs parts of a bin, and "
                f"scores={self.scores} are of whole bins. Give scores=released or none"
            )
        if self.shares == "position-segments" and self.class_quota:
            raise UsageError(
                f"{self.name}: shares=position-segments draws by position and not by class. "
                "Give class_quota=false"
            )
        if self.shares == "literal" and self.scores == "none":
            raise UsageError(
                f"{self.name}: shares=literal has no meaning without importances. Give scores=rs+ds"
            )

    @property
    def keeps(self) -> Keeps:
        """What of a budget the method keeps to."""
        return Keeps.ITS_OWN_COUNT if self.shares == "literal" else super().keeps

    @property
    def budgeted(self) -> bool:
        """Whether a budget changes what is kept: Eq. 9 and 10 as printed do not contain one."""
        return self.shares != "literal"

    @property
    def balanced(self) -> bool:
        """Whether every class keeps its share of the budget."""
        return self.shares != "literal" and super().balanced

    @property
    def score_names(self) -> tuple[str, ...]:
        """The scores that are computed: of ``rs`` and ``ds``."""
        if self.shares == "position-segments" or self.scores == "none" or self._has_constants:
            return ()
        if self.alpha == 0 and self.shares == "budget":
            return ()
        return ("rs", "ds") if self.scores == "released" else tuple(self.scores.split("+"))

    @property
    def _has_constants(self) -> bool:
        return self.scores == "released" and self.bins == len(ADQ_IMPORTANCES)

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Return what DQ reads, and the bins' scores."""
        found = super().artefacts(train, ctx)
        if not self.score_names:
            return found
        return [*found, self._scores_of(self.bins_of(train, ctx), train, ctx)]

    def importance(self, train: ImageDataset, ctx: Context) -> FloatArray | None:
        """Return the bins' importances, float64 [M] in 0 ... 2."""
        if not self.score_names:
            has_own = self._has_constants and self.shares != "position-segments"
            return np.array(ADQ_IMPORTANCES) if has_own else None
        scores = self._scores_of(self.bins_of(train, ctx), train, ctx)
        importance = np.zeros(self.bins)
        for name in self.score_names:
            importance += min_max(scores[name])
        return importance

    def quota(
        self, sizes: IntArray, budget: Budget, importance: FloatArray | None
    ) -> tuple[IntArray, dict[str, Any]]:
        """Return how many images to keep of each bin, int64 [M], and notes for the record."""
        notes: dict[str, Any] = {}
        if self.scores == "released":
            notes["importance_of"] = "+".join(self.score_names) or "released constants"
        if self.shares == "literal" and importance is not None:
            wanted = literal_quota(importance, sizes, self.alpha)
            notes["capped_bins"] = int((wanted > sizes).sum())
            return np.minimum(wanted, sizes), notes
        if self.shares == "product" and importance is not None:
            shares = product_shares(importance, sizes)
        else:
            shares = bin_shares(importance, sizes, self.alpha)
        total = self._total(int(sizes.sum()), budget)
        return quota_of_shares(shares, sizes, total, self.rounding), notes

    def plan(
        self,
        bins: Sequence[IntArray],
        train: ImageDataset,
        budget: Budget,
        importance: FloatArray | None,
    ) -> tuple[list[list[Pool]], dict[str, Any]]:
        """Return the pools of each bin with what is drawn of them, and notes for the record."""
        if self.shares != "position-segments":
            return super().plan(bins, train, budget, importance)
        segments = self._segments([len(one) for one in bins], budget)
        if self.greedy == "released":
            bins = [*bins[:-1], in_dataset_order(bins[-1], train.keys)]
        plan = [parts.of(one) for one, parts in zip(bins, segments, strict=True)]
        notes = {
            "segment_importance": list(self._segment_importance),
            "scaled_segments": any(parts.is_scaled for parts in segments),
            "capped_segments": any(parts.is_capped for parts in segments),
        }
        return plan, notes

    def _segments(self, sizes: list[int], budget: Budget) -> list[Segments]:
        """Return the segments of bins of these sizes, with what is drawn of each."""
        importance = self._segment_importance
        if self.rounding == "released":
            return [adq_segment_counts(size, fraction_of(budget), importance) for size in sizes]
        totals = bin_quota(None, sizes, budget.images(sum(sizes)), alpha=0.0).tolist()
        found = []
        for size, total in zip(sizes, totals, strict=True):
            parts = adq_segments(size)
            counts = quota_of_shares(product_shares(importance, parts), parts, total, self.rounding)
            found.append(Segments(parts, counts))
        return found

    @property
    def _segment_importance(self) -> tuple[float, ...]:
        return ADQ_IMPORTANCES if self.scores == "released" else (1.0,) * len(ADQ_IMPORTANCES)

    def _total(self, available: int, budget: Budget) -> int:
        if self.rounding == "released":
            return int(fraction_of(budget) * available)
        return budget.images(available)

    def _scores_of(self, bins: Artefact, train: ImageDataset, ctx: Context) -> Artefact:
        """Return the artefact with the scores asked for by name, float64 [M] each."""
        names = self.score_names
        textures = _textures(train, ctx)
        vectors, of_bin = self._diversity_of(train, ctx)

        def representativeness() -> FloatArray:
            levels = textures["levels"]
            return np.array([levels[one].mean() if len(one) else 0.0 for one in split_bins(bins)])

        def diversities() -> FloatArray:
            anchors, positives = vectors["anchors"], vectors["positives"]
            return np.array([of_bin(anchors[one], positives[one]) for one in split_bins(bins)])

        makers = {"rs": (representativeness, textures), "ds": (diversities, vectors)}

        def make() -> Arrays:
            return {name: makers[name][0]() for name in names}

        inputs = [bins, *(makers[name][1] for name in names)]
        params: dict[str, Any] = {"scores": "+".join(names), "diversity": self.diversity}
        if self.diversity == "infonce":
            params["temperature"] = self.temperature
        # the seed takes part through the inputs
        return ctx.artefact(
            "scores", make, inputs=inputs, params=params, seeded=False, device="cpu"
        )

    def _diversity_of(
        self, train: ImageDataset, ctx: Context
    ) -> tuple[Artefact, Callable[[Float32Array, Float32Array], float]]:
        """Return the images' vectors, and what gives a bin's diversity from its own."""
        if self.diversity == "gram":
            return UntrainedHead(self.network).vectors(train, ctx), gram_diversity
        vectors = Discriminator(self.network, self.temperature).vectors(train, ctx)
        return vectors, partial(diversity, temperature=self.temperature)


def _textures(train: ImageDataset, ctx: Context) -> Artefact:
    """Return the artefact with the images' texture ``levels``, float64 [N]."""

    def make() -> Arrays:
        return {"levels": texture_level(train.images)}

    return ctx.artefact("texture", make, seeded=False, device="cpu")
