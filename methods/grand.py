"""GraNd: images with the largest loss gradient early in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bench.contract import MethodInfo, register
from methods.parts.ranking import EarlyScoreMethod


@register("grand")
@dataclass(frozen=True)
class Grand(EarlyScoreMethod):
    r"""Keep the images with the largest gradient of the loss after a few epochs.

    The gradient is that by the last layer, weights and bias, whose norm is
    :math:`\|p - y\| \sqrt{1 + \|h\|^2}` with the penultimate features :math:`h`. The paper's
    GraNd (Paul et al. 2021, Def. 2.1) and its released ``scores.py`` take all parameters;
    DeepCore's takes the last layer, as here. The score is the mean over ``networks`` training
    runs. Ties go to the lowest index.

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
        title="GraNd of the last layer",
        paper="Paul et al., NeurIPS 2021, arXiv 2107.07075",
        year=2021,
        kind="selection",
        code="mansheej/data_diet takes all layers; DeepCore the last, through a second softmax",
        released=True,
    )
    measure: ClassVar[str] = "gradient"
