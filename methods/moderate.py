"""Moderate coreset: images at the median distance from the centre of their class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.contract import MethodInfo, register
from methods.parts.selection import ClasswiseSelection

if TYPE_CHECKING:
    from bench.arrays import Float32Array, IntArray


@register("moderate")
@dataclass(frozen=True)
class Moderate(ClasswiseSelection):
    r"""Keep the images whose distance to their class's mean is closest to the median distance.

    :math:`| \|x - \mu\| - \mathrm{median}_i \|x_i - \mu\| |` ascending (Xia et al. 2023), with the
    median of each class (our choice; the released code ranks all classes together). Ties go to
    the lowest index.

    Parameters
    ----------
    extractor, extractor_epochs
        As in :class:`methods.parts.selection.EmbeddingMethod`.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Moderate coreset",
        paper="Xia et al., ICLR 2023",
        year=2023,
        kind="selection",
        code="tmllab/2023_ICLR_Moderate-DS; medians as centres, one ranking for all classes",
        released=True,
    )

    def pick(self, features: Float32Array, count: int) -> IntArray:
        """Return the images, the most median first."""
        points = features.astype(np.float64)
        distance = np.linalg.norm(points - points.mean(axis=0), axis=1)
        return np.argsort(np.abs(distance - np.median(distance)), kind="stable")[:count]
