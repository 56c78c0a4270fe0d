"""ADQ: DQ's bins, with shares that follow the bins' texture and diversity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from bench.components import Between
from bench.contract import Context, ImageDataset, MethodInfo, register
from methods.dq import DatasetQuantization, split_bins
from methods.parts.allocation import min_max
from methods.parts.diversity import Discriminator, diversity
from methods.parts.texture import texture_level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arrays import Arrays, FloatArray
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
        code="does not weight bins at all: ten constants act on positions within a bin",
        released=True,
    )
    alpha: Annotated[float, Between(0, 1)] = 0.65
    scores: Literal["none", "rs", "ds", "rs+ds"] = "rs+ds"
    temperature: Annotated[float, Between(0.001, 100)] = 0.07

    @property
    def weight(self) -> float:
        """The importance's weight: alpha."""
        return self.alpha

    def artefacts(self, train: ImageDataset, ctx: Context) -> Sequence[Artefact]:
        """Return the bins and their scores."""
        bins = self.bins_of(train, ctx)
        return [bins] if self.scores == "none" else [bins, self._scores_of(bins, train, ctx)]

    def importance(self, train: ImageDataset, ctx: Context) -> FloatArray | None:
        """Return the bins' importances, float64 [M] in 0 ... 2."""
        if self.scores == "none":
            return None
        scores = self._scores_of(self.bins_of(train, ctx), train, ctx)
        importance = np.zeros(self.bins)
        for name in self.scores.split("+"):
            importance += min_max(scores[name])
        return importance

    def _scores_of(self, bins: Artefact, train: ImageDataset, ctx: Context) -> Artefact:
        """Return the artefact with the scores asked for by name, float64 [M] each."""
        textures = _textures(train, ctx)
        vectors = Discriminator(self.network, self.temperature).vectors(train, ctx)

        def representativeness() -> FloatArray:
            levels = textures["levels"]
            return np.array([levels[one].mean() if len(one) else 0.0 for one in split_bins(bins)])

        def diversities() -> FloatArray:
            anchors, positives = vectors["anchors"], vectors["positives"]
            return np.array(
                [
                    diversity(anchors[one], positives[one], self.temperature)
                    for one in split_bins(bins)
                ]
            )

        makers = {"rs": (representativeness, textures), "ds": (diversities, vectors)}
        wanted = {name: makers[name] for name in self.scores.split("+")}

        def make() -> Arrays:
            return {name: score() for name, (score, _) in wanted.items()}

        inputs = [bins, *(needed for _, needed in wanted.values())]
        params = {"scores": self.scores, "temperature": self.temperature}
        return ctx.artefact("scores", make, inputs=inputs, params=params, device="cpu")


def _textures(train: ImageDataset, ctx: Context) -> Artefact:
    """Return the artefact with the images' texture ``levels``, float64 [N]."""

    def make() -> Arrays:
        return {"levels": texture_level(train.images)}

    return ctx.artefact("texture", make, seeded=False, device="cpu")
