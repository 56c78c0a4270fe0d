"""ADQ: DQ's bins, with shares that follow the bins' texture and diversity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from bench.components import Between
from bench.contract import Context, ImageDataset, MethodInfo, register
from methods.dq import DatasetQuantization
from methods.parts.allocation import min_max
from methods.parts.diversity import Discriminator, diversity
from methods.parts.embeddings import Extractor
from methods.parts.texture import texture_level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arrays import Arrays, FloatArray, IntArray
    from bench.contract import Artefact


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
    alpha : float
        Weight of the importance, in 0 ... 1. The paper finds the best between 0.6 and 0.7 and
        chooses it by architecture; the default is the middle for all.
    scores : {"none", "rs", "ds", "rs+ds"}
        Which scores make the importance: representativeness, diversity or both.
    temperature : float
        Of the diversity's similarities; not stated in the paper (released class default 0.07).
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Adaptive Dataset Quantization",
        paper="Li et al., AAAI 2025",
        year=2025,
        kind="selection",
        code="released; does not weight bins at all: ten constants act on positions within a bin",
    )
    alpha: Annotated[float, Between(0, 1)] = 0.65
    scores: Literal["none", "rs", "ds", "rs+ds"] = "rs+ds"
    temperature: Annotated[float, Between(0.001, 100)] = 0.07

    @property
    def weight(self) -> float:
        """The importance's weight: alpha."""
        return self.alpha

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Return the bins and what the scores are computed from."""
        needed = [self.bins_of(train, ctx)]
        if "rs" in self.scores:
            needed.append(self._textures(train, ctx))
        if "ds" in self.scores:
            needed.append(self._discriminator.vectors(train, ctx))
        return needed

    def importance(
        self, train: ImageDataset, bins: Sequence[IntArray], ctx: Context
    ) -> FloatArray | None:
        """Return the bins' importances, float64 [M] in 0 ... 2."""
        importance = np.zeros(len(bins))
        if self.scores == "none":
            return None
        if "rs" in self.scores:
            levels = self._textures(train, ctx)["levels"]
            importance += min_max([levels[one].mean() if len(one) else 0.0 for one in bins])
        if "ds" in self.scores:
            vectors = self._discriminator.vectors(train, ctx)
            anchors, positives = vectors["anchors"], vectors["positives"]
            importance += min_max(
                [diversity(anchors[one], positives[one], self.temperature) for one in bins]
            )
        return importance

    @property
    def _discriminator(self) -> Discriminator:
        return Discriminator(Extractor(self.extractor, self.extractor_epochs), self.temperature)

    def _textures(self, train: ImageDataset, ctx: Context) -> Artefact:
        def make() -> Arrays:
            return {"levels": texture_level(train.images)}

        return ctx.artefact("texture", make, seeded=False)
