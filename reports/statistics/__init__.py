"""Statistics of repeated runs: pure functions of numbers, which know no model."""

from reports.statistics.decisions import LEVEL, Equivalence, best_of, equivalence, holm
from reports.statistics.intervals import (
    Effect,
    Estimate,
    Runs,
    effect_over_seeds,
    independent,
    interval_over_seeds,
    matched,
    paired_effect,
    t_interval,
)
from reports.statistics.optimism import Optimism, optimism
from reports.statistics.power import (
    POWER,
    equivalence_power,
    minimum_detectable_difference,
    power,
    seeds_for_equivalence,
    seeds_needed,
)
from reports.statistics.ranking import Rank, Stability, kendall_tau, rank_stability
from reports.statistics.resampling import (
    Interval,
    hierarchical_bootstrap,
    improvement_interval,
    iqm,
    iqm_interval,
    probability_of_improvement,
)

__all__ = [
    "LEVEL",
    "POWER",
    "Effect",
    "Equivalence",
    "Estimate",
    "Interval",
    "Optimism",
    "Rank",
    "Runs",
    "Stability",
    "best_of",
    "effect_over_seeds",
    "equivalence",
    "equivalence_power",
    "hierarchical_bootstrap",
    "holm",
    "improvement_interval",
    "independent",
    "interval_over_seeds",
    "iqm",
    "iqm_interval",
    "kendall_tau",
    "matched",
    "minimum_detectable_difference",
    "optimism",
    "paired_effect",
    "power",
    "probability_of_improvement",
    "rank_stability",
    "seeds_for_equivalence",
    "seeds_needed",
    "t_interval",
]
