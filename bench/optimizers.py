"""torch's optimizers, step by step, without its compiler.

An optimizer of torch imports the whole compiler when it is made, to tell it to keep out of each
method: two seconds of every process, for nothing that runs here.
"""

from __future__ import annotations

import inspect
from typing import TypeVar

import torch

Kind = TypeVar("Kind", bound=torch.optim.Optimizer)

_GUARDED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def eager(kind: type[Kind]) -> type[Kind]:
    """Return an optimizer's class as it is below the decorators that speak to the compiler.

    The arithmetic is the class's own. Its ``step`` takes no closure and is never differentiated
    through; hooks and profiling of steps stay.
    """
    below = {name: inspect.unwrap(getattr(kind, name)) for name in _GUARDED}
    step = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), {"__doc__": kind.__doc__, **below, "step": step})
