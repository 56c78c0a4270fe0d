"""D2 pruning: difficulty that spreads over a graph of neighbours, and is taken from there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np

from bench.components import Between
from bench.contract import Context, ImageDataset, MethodInfo, register
from methods.parts.dynamics import forgetting_events
from methods.parts.knn import Graph, neighbour_graph
from methods.parts.ranking import DynamicsMethod, easiest

if TYPE_CHECKING:
    from bench.arrays import FloatArray, IntArray
    from methods.parts.pools import Picker


@register("d2")
@dataclass(frozen=True)
class D2Pruning(DynamicsMethod):
    r"""Pick difficult images, each of which makes its neighbours less wanted.

    Images are the nodes of a graph that joins nearest neighbours in feature space. In the
    forward pass each takes up its neighbours' difficulty,
    :math:`s_i \leftarrow s_i + \sum_{j \in N(i)} e^{-\gamma_f d_{ij}^2} s_j`. Then the image with
    the highest value is picked and its neighbours lose
    :math:`s_j \leftarrow s_j - e^{-\gamma_r d_{ij}^2} s_i`, until the budget is met (Maharana et
    al. 2024; ``core/data/sampling.py`` at 187666a with graph-mode sum and graph-sampling-mode
    weighted). Difficulty is the number of forgetting events; images never learned count as
    forgotten in every epoch, as in example_forgetting (D2's code counts them as never
    forgotten). Ties go to the lowest index.

    Parameters
    ----------
    k : int
        Nearest neighbours of each image; the graph joins both ways.
    gamma_forward : float
        Of the forward pass; fixed at 1 in the released code.
    gamma_reverse : float
        Of the reverse pass.
    kernel : {"gaussian", "exponential"}
        exp(-gamma d^2) (paper) or exp(-gamma d) (released code).
    cutoff : float
        Share of a pool, those with the lowest mean margin, that is left out first; less where
        the budget needs more than is left. Cut class by class with ``balance``, where the
        released code cuts the whole split before it divides it (our choice: classes keep their
        share).
    extractor, epochs, balance
        As in :class:`methods.parts.ranking.DynamicsMethod`; with ``balance`` every class is a
        graph of its own, as in the released README.

    Notes
    -----
    The paper tunes k, gamma_reverse and the cutoff for each ratio and data set. The defaults
    are those of the released README's one example, 10 % of CIFAR-10; that they hold for all
    ratios is our choice.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="D2 pruning",
        paper="Maharana et al., ICLR 2024, arXiv 2310.07931",
        year=2024,
        kind="selection",
        code="adymaharana/d2pruning; its kernel is exp(-d), not exp(-d^2)",
        released=True,
    )
    k: Annotated[int, Between(1, 1000)] = 5
    gamma_forward: Annotated[float, Between(0)] = 1.0
    gamma_reverse: Annotated[float, Between(0)] = 0.1
    kernel: Literal["gaussian", "exponential"] = "gaussian"
    cutoff: Annotated[float, Between(0, 1)] = 0.4

    def picker(self, train: ImageDataset, ctx: Context) -> Picker:
        """Return what picks by message passing, in the order of picking."""
        recorded = self.dynamics(train, ctx)
        correct, features = recorded["correct"], recorded["features"]
        margins = recorded["margin"].mean(axis=0, dtype=np.float64)
        learned = correct.any(axis=0)
        difficulty = np.where(learned, forgetting_events(correct), len(correct)).astype(np.float64)

        def pick(pool: IntArray, count: int) -> IntArray:
            left = easiest(margins, pool, self.cutoff, count)
            graph = neighbour_graph(features[left], self.k, partial(ctx.progress, "graph"))
            return left[self.select(graph, difficulty[left], count)]

        return pick

    def select(self, graph: Graph, difficulty: FloatArray, count: int) -> IntArray:
        """Return the nodes that are picked, in that order.

        Parameters
        ----------
        graph : Graph
            Of n nodes.
        difficulty : float64 [n]
            The nodes' own.
        count : int
            Nodes to pick, at most n.
        """
        length = graph.squared if self.kernel == "gaussian" else np.sqrt(graph.squared)
        received = np.exp(-self.gamma_forward * length) * difficulty[graph.target]
        value = difficulty + np.bincount(graph.source, received, minlength=len(graph))
        weight = np.exp(-self.gamma_reverse * length)
        picked = np.empty(count, dtype=np.int64)
        for number in range(count):
            best = int(value.argmax())
            edges = slice(graph.starts[best], graph.starts[best + 1])
            value[graph.target[edges]] -= weight[edges] * value[best]
            value[best] = -np.inf
            picked[number] = best
        return picked
