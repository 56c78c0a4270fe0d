"""One optimizer step: operation by operation, or on a GPU as a graph that is captured once."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.adapting import adapted, parameter_groups
from bench.batches import Targets
from bench.cooperation import Cooperation
from bench.losses import loss_of
from bench.optimizers import eager
from bench.team import ALONE, Team

if TYPE_CHECKING:
    from bench.batches import Batches, Part
    from bench.models.networks import Network
    from bench.precision import Precision
    from bench.protocols import Protocol

WARM_UP = 3
"""Steps of a batch size before it is captured: libraries set themselves up in the first ones."""


class Trainer:
    """A network with its optimizer, on one device.

    On a GPU a step of some thousand kernels is bound by their launches. The step of each batch
    size is therefore captured as a CUDA graph, after :data:`WARM_UP` steps that count as training,
    and replayed from then on. :meth:`restart` gives the network other weights in the same place:
    the next seed, or the next compressed set, is trained by the graphs that are there.

    Where a capture fails, :attr:`capture_failure` tells why; no further one is tried, and steps
    without a graph are made operation by operation, which gives the same weights. Where memory was
    short, :meth:`restart` allows another try.

    Batches in shards are not captured, nor are networks that draw random numbers while they train,
    which the warm-up shows: how much a replayed graph takes from the generator is torch's own
    matter, and interrupted runs are to equal others.

    Parameters
    ----------
    network : Network
        Moved to the device.
    protocol : Protocol
        Its optimizer and its label smoothing.
    precision : Precision
        Of the products.
    captures : bool
        Whether graphs are wanted, where there is a GPU.
    team : Team
        The processes that train the network together.
    """

    def __init__(
        self,
        network: Network,
        protocol: Protocol,
        precision: Precision,
        device: torch.device,
        captures: bool = True,
        team: Team = ALONE,
    ) -> None:
        self.device = device
        self.precision = precision
        self._stream = _stream(device) if device.type == "cuda" else None
        network = adapted(network, protocol).to(device)
        with self.at_work():  # gradients are exchanged on the stream that this is made on
            self._together = Cooperation(network, team, protocol)
        self.network = self._together.network
        self.captures = (
            captures and team.size == 1 and protocol.batch_shards == 1 and device.type == "cuda"
        )
        """Whether steps are to be captured; no more once the network has drawn random numbers."""
        self.capture_failure = ""
        """Why a step could not be captured; empty where none has failed."""
        self._lacked_memory = False
        self.loss_sum = torch.zeros((), device=device)
        """Sum of the losses of all images since :meth:`begin_epoch`, on the device."""
        self._loss = loss_of(protocol)
        self._rate = torch.zeros((), device=device) if device.type == "cuda" else None
        self.optimizer = _optimizer(self.network, protocol, self._rate)
        self._steps: Counter[_Shape] = Counter()
        self._graphs: dict[_Shape, _Captured] = {}
        self._pool: Any = None
        """Memory that the graphs share: they run one after the other and leave nothing in it."""

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Run the block on the trainer's own stream, as captured graphs need it."""
        if self._stream is None:
            yield
            return
        outer = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(outer)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            outer.wait_stream(self._stream)

    def restart(self, network: Network) -> None:
        """Take the weights of another network of the same kind, and forget the momenta."""
        own, fresh = self.network.state_dict(), network.state_dict()
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(fresh[name])
        self.forget_momenta()
        if self._lacked_memory:  # others may have taken it, who are gone
            self.capture_failure, self._lacked_memory = "", False

    def forget_momenta(self) -> None:
        """Set all that the optimizer remembers to zero, which is where it began."""
        for state in self.optimizer.state.values():
            for value in state.values():
                if isinstance(value, Tensor):
                    value.zero_()

    def begin_epoch(self) -> None:
        """Set the sum of losses to zero; put the network into training mode."""
        self.loss_sum.zero_()
        self.network.train()
        self._together.begin_epoch()

    def step(self, parts: list[Part], batches: Batches, rate: float) -> None:
        """Change the weights once, by the parts of one batch; nothing waits for the device."""
        self._set_rate(rate)
        if not (self.captures and len(parts) == 1):
            self._eager(parts, batches)
            return
        (part,) = parts
        targets = batches.targets(part.index)
        shape = _Shape.of(part.images, targets)
        if shape not in self._graphs:
            self._steps[shape] += 1
            if self._steps[shape] <= WARM_UP:
                before = _generators(self.device)
                self._eager(parts, batches)
                self.captures = all(map(torch.equal, before, _generators(self.device)))
                return
            if not self._capture(shape, part.images, targets):
                self._eager(parts, batches)
                return
        self._graphs[shape].replay(part.images, targets)

    @property
    def is_captured(self) -> bool:
        """Whether steps were captured."""
        return bool(self._graphs)

    def end_epoch(self, seen: int) -> float:
        """Return the mean loss of all images since :meth:`begin_epoch`; waits for the device.

        ``seen`` is how many they were in this process.
        """
        self._together.end_epoch()
        own = self.loss_sum.double()
        loss_sum, images = self.total(torch.stack([own, own.new_tensor(seen)])).tolist()
        return float(loss_sum / images)

    def has_finite_weights(self) -> bool:
        """Return whether no step has made a weight infinite, or no number; waits for the device."""
        finite = [torch.isfinite(value).all() for value in self.network.parameters()]
        return bool(torch.stack(finite).all())

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of the values that the processes have."""
        return self._together.total(values)

    def try_step(self, images: Tensor, targets: Targets) -> None:
        """Change the weights once and wait for it: what shows whether a batch fits."""
        self._backward(images, targets)
        self.optimizer.step()
        float(self.loss_sum)

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """Return what the optimizer remembers, by the parameter's number and a name."""
        found = {}
        for number, parameter in enumerate(self.network.parameters()):
            for name, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    found[f"{number}/{name}"] = value
        return found

    def restore_optimizer(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what :meth:`optimizer_tensors` returned; captured graphs stay valid."""
        self.forget_momenta()
        parameters = list(self.network.parameters())
        for key, value in tensors.items():
            number, _, name = key.partition("/")
            parameter = parameters[int(number)]
            state = self.optimizer.state[parameter]
            if name not in state:  # in the parameter's own memory layout, for the fusion
                is_map = value.shape == parameter.shape
                like = parameter if is_map else value
                state[name] = torch.empty_like(like, dtype=value.dtype, device=self.device)
            state[name].copy_(value)

    def _set_rate(self, rate: float) -> None:
        if self._rate is not None:
            self._rate.fill_(rate)
            return
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _eager(self, parts: list[Part], batches: Batches) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        for part in parts:
            targets = batches.targets(part.index)
            with self._together.exchanging(part.piece, part is parts[-1]):
                self._backward(part.images, targets, part.piece.share)
        self.optimizer.step()

    def _backward(self, images: Tensor, targets: Targets, share: float = 1.0) -> None:
        with autocast(self.device, self.precision):
            logits = self._together(images)
        loss = self._loss(logits.float(), targets)
        self._together.weighted(loss, share).backward()  # type: ignore[no-untyped-call]
        self.loss_sum += loss.detach() * len(targets.labels)

    def _capture(self, shape: _Shape, images: Tensor, targets: Targets) -> bool:
        """Capture the step of a shape; return whether there is a graph of it now.

        Nothing has run when a capture fails: weights and momenta are those of before. An error
        that has other reasons comes again when the step is made operation by operation.
        """
        if self.capture_failure:
            return False
        handled = sys.exception()
        try:
            self._graphs[shape] = self._captured(images, targets)
        except RuntimeError as error:  # an operation that cannot be captured, or no memory for it
            cause = _first(error, handled)
            if not isinstance(cause, Exception):  # Ctrl-C, which broke the capture
                raise cause from None
            first_line = (str(cause).splitlines() or [""])[0]
            self.capture_failure = f"{type(cause).__name__}: {first_line}"
            self._lacked_memory = isinstance(error, torch.OutOfMemoryError)
            return False
        return True

    def _captured(self, images: Tensor, targets: Targets) -> _Captured:
        """Capture a step; it is recorded and not run."""
        held = torch.empty_like(images).copy_(images), targets.clone()
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        # Other threads (a display, a lease's heartbeat) are free to go on meanwhile.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            self._backward(*held)
            self.optimizer.step()
        self._pool = graph.pool()
        return _Captured(graph.replay, *held)


@dataclass(frozen=True)
class _Shape:
    """What two batches must have in common to be trained on by one graph."""

    images: torch.Size
    strides: tuple[int, ...]
    labels: torch.dtype
    is_weighted: bool

    @classmethod
    def of(cls, images: Tensor, targets: Targets) -> _Shape:
        is_weighted = targets.weights is not None
        return cls(images.shape, images.stride(), targets.labels.dtype, is_weighted)


@dataclass(frozen=True)
class _Captured:
    """A captured step and the places that it reads its batch from."""

    run: Callable[[], None]
    images: Tensor
    targets: Targets

    def replay(self, images: Tensor, targets: Targets) -> None:
        self.images.copy_(images)
        self.targets.copy_(targets)
        self.run()


def _first(error: BaseException, handled: BaseException | None) -> BaseException:
    """Return the error that the others followed from, after the one that was handled before.

    The end of a broken capture fails too, and its error hides the one that broke it.
    """
    while error.__context__ is not None and error.__context__ is not handled:
        error = error.__context__
    return error


@cache
def _stream(device: torch.device) -> Any:
    """Return the stream that all trainers of a process work on.

    cuBLAS keeps a workspace for every stream that it was ever called on, and freed memory is
    used again by the stream alone that freed it.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _generators(device: torch.device) -> list[Tensor]:
    """Return the states of the generators that a network may draw from; waits for nothing."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the context in which a network computes in a precision."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision.name == "bf16")


def _optimizer(network: Network, protocol: Protocol, rate: Tensor | None) -> torch.optim.Optimizer:
    """Return the protocol's optimizer; on a GPU it reads its rate from a tensor there."""
    settings: dict[str, Any] = {
        "lr": protocol.learning_rate if rate is None else rate,
        "weight_decay": protocol.weight_decay,
        "fused": True,
    }
    groups = parameter_groups(network, protocol)
    if protocol.optimizer == "adamw":
        return eager(torch.optim.AdamW)(groups, capturable=rate is not None, **settings)
    return eager(torch.optim.SGD)(
        groups,
        momentum=protocol.momentum,
        nesterov=protocol.nesterov and protocol.momentum > 0,
        **settings,
    )
