"""DQ: bins by recursive GraphCut, then the same share of each bin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from bench.budgets import Budget
from bench.components import Between
from bench.contract import CompressedSet, Context, ImageDataset, MethodInfo, register
from bench.errors import UsageError
from methods.parts.allocation import bin_class_quota, bin_quota, class_histogram
from methods.parts.draws import drawn, pools_by_label
from methods.parts.released import each_rounded, fraction_of
from methods.parts.selection import GraphCutMethod

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arrays import Arrays, FloatArray, IntArray
    from bench.contract import Artefact
    from bench.weights import Weights
    from methods.parts.draws import Pool
    from methods.parts.pixels import PixelStage
    from methods.parts.submodular import Binning

SEARCHES = ("matrix", "products", "released")
"""How picks are found: by the matrix of all pairs, by rows of it, or as the released code does."""


@register("dq")
@dataclass(frozen=True)
class DatasetQuantization(GraphCutMethod):
    r"""Draw the same share of every bin; bins are made one after the other by GraphCut.

    Bin n takes the images :math:`x` with the largest gain
    :math:`\sum_{p \in S_n} d(p, x) - \sum_{p \in D \setminus (S_1 \cup \dots \cup S_n)} d(p, x)`,
    greedily, until it holds :math:`|D| / M` of them; the last bin holds what is left (DQ,
    arXiv 2308.10524, Sec. 3). Within a bin the draw is uniform in each class, and bins and
    classes meet their quotas exactly.

    Parameters
    ----------
    edition : {"paper", "released"}
        The equations on features, or what ``quantize_sample.py`` and ``quantize_bin.py`` do with
        the README's settings, which keeps 6,200 and not 6,250 of 50,000 images at 12.5 %.
    bins : int
        M, the number of bins.
    class_quota : bool
        Draw each class of a bin on its own, or the whole bin at once.
    draw : {"paired", "released"}
        The lowest of priorities that all methods of a selection seed share; or
        ``np.random.choice`` with the selection seed itself, set anew for every bin.
    drop : float
        Share of the patches of every kept image that the pixel stage drops and reconstructs: 0.25
        in the paper, 0.2 in the README; 0 keeps whole images, in all editions.
    attention, mae, mae_epochs, alignment
        As in :class:`methods.parts.pixels.PixelStage`.
    embedding, loss, head, normalisation, kernel, balance, greedy, rounding
        The other differences between the editions, each on its own; as in
        :class:`methods.parts.selection.GraphCutMethod`.
    extractor, extractor_epochs
        As in :class:`methods.parts.selection.EmbeddingMethod`.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Dataset Quantization",
        paper="Zhou et al., ICCV 2023, arXiv 2308.10524",
        year=2023,
        kind="selection",
        code="keeps 6,200 and not 6,250 of 50,000 images at 12.5 %",
        released=True,
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "released": {
            **GraphCutMethod.released,
            "draw": "released",
            "attention": "grad-cam++",
            "mae": "vit-large",
            "alignment": "misaligned",
        }
    }
    bins: Annotated[int, Between(1, 1000)] = 10
    class_quota: bool = True
    draw: Literal["paired", "released"] = "paired"
    drop: Annotated[float, Between(0, 0.99)] = 0.0
    attention: Literal["grad-cam", "grad-cam++"] = "grad-cam"
    mae: Literal["small", "vit-large"] = "small"
    mae_epochs: Annotated[int, Between(1, 10000)] = 20
    alignment: Literal["key", "misaligned"] = "key"

    @property
    def quick(self) -> Mapping[str, Any]:
        """Shorter trainings, for a check in seconds."""
        has_own_mae = self.drop > 0 and self.mae == "small"
        return {**super().quick, **({"mae_epochs": 1} if has_own_mae else {})}

    @property
    def balanced(self) -> bool:
        """Whether every class keeps its share of the budget."""
        is_aligned = self.drop == 0 or self.alignment == "key"
        return self.class_quota and self.rounding == "exact" and is_aligned

    @property
    def stage(self) -> PixelStage | None:
        """What drops patches and reconstructs them; None where nothing is dropped."""
        if self.drop == 0:
            return None
        from methods.parts.pixels import PixelStage

        edition: Any = "released" if self.edition.startswith("released") else "paper"
        return PixelStage(
            self.drop,
            self.network,
            self.attention,
            self.mae,
            self.mae_epochs,
            self.alignment,
            edition,
        )

    def bytes_each(self, train: ImageDataset) -> int:
        """Return the bytes that one kept image takes, with its mask and label."""
        return super().bytes_each(train) if self.stage is None else self.stage.bytes_each(train)

    def weights(self) -> tuple[Weights, ...]:
        """Return the pretrained weights of the extractor and of the pixel stage."""
        return super().weights() + (() if self.stage is None else self.stage.weights())

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Return the bins and, where patches are dropped, the reconstructions."""
        bins = self.bins_of(train, ctx)
        return [bins] if self.stage is None else [bins, self.stage.reconstructions(train, ctx)]

    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return the draws, bin by bin, as the pixel stage leaves them.

        Raises
        ------
        UsageError
            When no image is kept, or the pixel stage's images do not fit into memory.
        """
        if self.stage is None:
            return self.draws(train, budget, ctx)
        from methods.parts.pixels import with_pixels

        each = self.bytes_each(train)
        budget = budget.for_images_of(each, train.bytes_per_image, len(train))
        self.stage.reconstructions(train, ctx).arrays()  # first: they may be refused
        return with_pixels(self.draws(train, budget, ctx), self.stage, train, ctx)

    def draws(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return whole images, bin by bin."""
        stored = self.bins_of(train, ctx)
        bins = split_bins(stored)
        importance = self.importance(train, ctx)
        plan, notes = self.plan(bins, train, budget, importance)
        kept = drawn(plan, self.draw, train, ctx)
        if not len(kept):
            raise UsageError(
                f"{self.name}: at {budget.words} no image is kept of any of {len(bins)} bins. "
                "Raise the ratio, or take fewer bins"
            )
        if importance is not None:
            notes = {"importance": importance.tolist(), **notes}
        bin_counts = tuple(sum(count for _, count in pools) for pools in plan)
        notes = {**notes, **search_notes(stored), **self.asked(train, budget, len(kept))}
        return CompressedSet(kept, bin_counts=bin_counts, notes=notes)

    def bins_of(
        self, train: ImageDataset, ctx: Context, images: Artefact | None = None
    ) -> Artefact:
        """Return the artefact with the bins: ``order`` int64 [N], cut by ``sizes`` int64 [M].

        Also ``searches`` bool [3], which of ``SEARCHES`` found them, and ``smallest_gap`` float64
        [1], as in :class:`methods.parts.submodular.Binning`; NaN for the released search.

        ``images`` is an artefact with other ``images`` of the same training split, for example
        reconstructions, that are divided instead.
        """
        stored = self.vector_artefacts(train, ctx, images)

        def make() -> Arrays:
            found = self._divided(stored, train)
            return {
                "order": np.concatenate(found.bins),
                "sizes": np.array([len(one) for one in found.bins], dtype=np.int64),
                "searches": np.array([name in found.searches for name in SEARCHES]),
                "smallest_gap": np.array([found.smallest_gap]),
            }

        params = {
            "bins": self.bins,
            "kernel": self.kernel,
            "balance": self.balance,
            "greedy": self.greedy,
        }
        # the seed takes part through the inputs
        return ctx.artefact("bins", make, inputs=stored, params=params, seeded=False, device="cpu")

    def _divided(self, stored: Sequence[Artefact], train: ImageDataset) -> Binning:
        from methods.parts.submodular import Binning, graphcut_binning

        vectors, labels = self.vectors(stored), self.pool_labels(train)
        if self.greedy == "released":
            from methods.parts.released_greedy import released_bins

            try:
                bins = released_bins(vectors, labels, self.bins)
            except ValueError as error:
                raise UsageError(f"{self.name}: greedy=released: {error}") from error
            return Binning(bins, ("released",), np.nan)
        return graphcut_binning(
            vectors, labels, bins=self.bins, kernel=self.kernel, balance=self.balance
        )

    def plan(
        self,
        bins: Sequence[IntArray],
        train: ImageDataset,
        budget: Budget,
        importance: FloatArray | None,
    ) -> tuple[list[list[Pool]], dict[str, Any]]:
        """Return the pools of each bin with what is drawn of them, and notes for the record."""
        labels = train.labels if self.class_quota else np.zeros_like(train.labels)
        available = class_histogram(labels, bins, len(train.classes) if self.class_quota else 1)
        table, notes = self.table(available, budget, importance)
        plan = [pools_by_label(one, labels, row) for one, row in zip(bins, table, strict=True)]
        return plan, notes

    def table(
        self, available: IntArray, budget: Budget, importance: FloatArray | None
    ) -> tuple[IntArray, dict[str, Any]]:
        """Return how many images to keep of each class in each bin, and notes for the record.

        ``available`` and the table are int64 [M, C]; without ``class_quota`` all is one class.
        """
        if importance is None and self.rounding == "released":
            return each_rounded(available, fraction_of(budget)), {}
        quota, notes = self.quota(available.sum(1), budget, importance)
        return bin_class_quota(available, quota, _by_class(available, quota, budget)), notes

    def quota(
        self, sizes: IntArray, budget: Budget, importance: FloatArray | None
    ) -> tuple[IntArray, dict[str, Any]]:
        """Return how many images to keep of each bin, int64 [M], and notes for the record."""
        return bin_quota(None, sizes, budget.images(int(sizes.sum())), alpha=0.0), {}

    def importance(self, train: ImageDataset, ctx: Context) -> FloatArray | None:
        """Return the bins' importances, float64 [M]; None for shares by size."""
        return None


def _by_class(available: IntArray, quota: IntArray, budget: Budget) -> IntArray:
    """Return the classes' shares of all that the bins' quotas come to."""
    sizes, total = available.sum(0), int(quota.sum())
    if total == budget.images(int(sizes.sum())):
        return budget.images_by_class(sizes)
    if total == 0:
        return np.zeros_like(sizes)
    return Budget.exactly(total, int(sizes.sum())).images_by_class(sizes)


def split_bins(stored: Artefact) -> list[IntArray]:
    """Return the bins of an artefact that :meth:`DatasetQuantization.bins_of` gave."""
    return np.split(stored["order"], np.cumsum(stored["sizes"])[:-1])


def search_notes(stored: Artefact) -> dict[str, Any]:
    """Return how the bins of an artefact were found, as notes for the record."""
    from methods.parts.submodular import Binning

    told = zip(SEARCHES, stored["searches"].tolist(), strict=True)
    searches = tuple(name for name, was_used in told if was_used)
    return Binning([], searches, float(stored["smallest_gap"][0])).notes()
