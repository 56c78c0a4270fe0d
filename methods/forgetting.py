"""Forgetting: images that a network learns and unlearns most often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.contract import Context, ImageDataset, MethodInfo, register
from methods.parts.dynamics import forgetting_events
from methods.parts.ranking import RankingMethod

if TYPE_CHECKING:
    from bench.arrays import FloatArray


@register("forgetting")
@dataclass(frozen=True)
class Forgetting(RankingMethod):
    """Keep the images that were forgotten most often while a network was trained.

    An image is forgotten when it is classified rightly after one epoch and wrongly after the
    next; one that was never classified rightly counts as forgotten infinitely often (Toneva et
    al. 2019, Sec. 3). Counts are small and ties many: they go to the lowest index, that is in
    the order of the images' keys (our choice; the released codes leave them to an unstable
    sort). Correctness is that after each epoch, see :class:`methods.parts.dynamics.Dynamics`.

    Parameters
    ----------
    extractor, epochs, balance
        As in :class:`methods.parts.ranking.DynamicsMethod`.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="forgetting events",
        paper="Toneva et al., ICLR 2019, arXiv 1812.05159",
        year=2019,
        kind="selection",
        code="mtoneva/example_forgetting; DeepCore counts images never learned as not forgotten",
        released=True,
    )

    def scores(self, train: ImageDataset, ctx: Context) -> FloatArray:
        """Return the numbers of forgetting events; infinite for images never learned."""
        correct = self.dynamics(train, ctx)["correct"]
        return np.where(correct.any(axis=0), forgetting_events(correct), np.inf)
