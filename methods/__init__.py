"""The methods that shrink a training set, a file each; importing this registers them all.

Reading one file tells one method, from its equation to its parameters. What several of them
share is in ``methods.parts``.
"""

from methods import adq, dq, full, graphcut, random

__all__ = ["adq", "dq", "full", "graphcut", "random"]
