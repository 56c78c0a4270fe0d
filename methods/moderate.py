"""Moderate coreset: images at the median distance from the centre of their class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.contract import Context, ImageDataset, MethodInfo, register
from methods.parts.selection import EmbeddingSelection

if TYPE_CHECKING:
    from bench.arrays import Float32Array, FloatArray, IntArray
    from methods.parts.pools import Picker


@register("moderate")
@dataclass(frozen=True)
class Moderate(EmbeddingSelection):
    r"""Keep the images whose distance to their class's mean is closest to the median distance.

    :math:`| \|x - \mu_c\| - \mathrm{median}_i \|x_i - \mu_{c(i)}\| |` ascending (Xia et al. 2023),
    with the median of each class (our choice). With ``balance=false`` distances are still those
    to the mean of the image's own class, and the median is that of all images, as in the released
    code. Ties go to the lowest index.

    Parameters
    ----------
    extractor, extractor_epochs, balance
        As in :class:`methods.parts.selection.EmbeddingSelection`.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Moderate coreset",
        paper="Xia et al., ICLR 2023",
        year=2023,
        kind="selection",
        code="tmllab/2023_ICLR_Moderate-DS; medians as centres, one ranking for all classes",
        released=True,
    )

    def picker(self, train: ImageDataset, ctx: Context) -> Picker:
        """Return what picks of a pool, the most median first."""
        away = from_centres(self.embeddings(train, ctx)["features"], train.labels)
        return lambda pool, count: pool[most_median(away[pool])[:count]]


def from_centres(features: Float32Array, labels: IntArray) -> FloatArray:
    """Return the images' distances to the mean of their class's features, float64 [N]."""
    away = np.empty(len(features))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        points = features[members].astype(np.float64)
        away[members] = np.linalg.norm(points - points.mean(axis=0), axis=1)
    return away


def most_median(distance: FloatArray) -> IntArray:
    """Return all positions, those closest to the median first."""
    return np.argsort(np.abs(distance - np.median(distance)), kind="stable")
