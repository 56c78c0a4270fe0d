"""EL2N: images with the largest error early in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.contract import MethodInfo, register
from methods.parts.ranking import EarlyScoreMethod


@register("el2n")
@dataclass(frozen=True)
class El2n(EarlyScoreMethod):
    r"""Keep the images with the largest :math:`\|p - y\|_2` after a few epochs.

    :math:`p` are the class probabilities and :math:`y` the one-hot label; the score is the mean
    over ``networks`` training runs (Paul et al. 2021, Sec. 2). Ties go to the lowest index.

    Parameters
    ----------
    score_epoch : int
        Epoch after which images are scored; our choice.
    networks : int
        Training runs; the released README recommends at least 10, the default 1 shares the
        other methods' run (our choice).
    extractor, epochs, balance
        As in :class:`methods.parts.ranking.DynamicsMethod`.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="EL2N",
        paper="Paul et al., NeurIPS 2021, arXiv 2107.07075",
        year=2021,
        kind="selection",
        code="mansheej/data_diet; CCS's code sums the error over the first 10 epochs instead",
        released=True,
    )
    measure: ClassVar[str] = "error"
