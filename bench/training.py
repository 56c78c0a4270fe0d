"""One training run: a network, a compressed set, a protocol, a seed; and its test."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bench import devices
from bench.adapting import adapted
from bench.augment import DeviceImages, TestImages
from bench.batches import Batches, ResidentBatches
from bench.checkpoints import Checkpoint, Pace, TrainingState
from bench.energy import EnergyMeter
from bench.errors import LossNotFiniteError
from bench.feeding import Feeding, chosen
from bench.identity import canonical_json, derive_seed
from bench.jobs import Curve, Job
from bench.metering import DeviceTimer, peak_memory_bytes
from bench.models.convolutions import gone_by_place
from bench.schedules import learning_rate
from bench.stepping import Trainer
from bench.testing import own_part, predict, right_by_class

if TYPE_CHECKING:
    from bench.arrays import IntArray
    from bench.contract import ImageDataset
    from bench.models import Model
    from bench.models.networks import Network
    from bench.protocols import Protocol
    from bench.team import Team


class Observer:
    """What is recorded of a network while it trains; this one records nothing.

    What it gathers belongs to the run's checkpoint, so that an interrupted recording is whole.
    """

    def observe(self, epoch: int, network: Network) -> None:
        """Look at the network after an epoch, counted from 1."""

    def tensors(self) -> dict[str, Tensor]:
        """Return what was gathered so far."""
        return {}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what :meth:`tensors` returned before an interruption."""


def fresh_network(model: Model, train: ImageDataset, seed: int) -> Network:
    """Return a network with the seed's initial weights, channels last."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "initialisation"))
        network = model.build(train.shape, len(train.classes))
    return network.to(memory_format=torch.channels_last)


class Trainers:
    """Gives a run its trainer; the last one is kept, since graphs take a while to capture.

    Whoever hands the same trainers to several runs is done with a run's network before the next
    begins: it is the same one with other weights.
    """

    def __init__(self) -> None:
        self._kept: tuple[str, Trainer] | None = None

    def trainer(self, job: Job) -> Trainer:
        """Return a trainer with the fresh network of a job."""
        device = torch.device(job.device)
        network = fresh_network(job.model, job.train, job.seed)
        key = _trainer_key(job)
        if self._kept is not None and self._kept[0] == key:
            self._kept[1].restart(adapted(network, job.protocol).to(device))
            return self._kept[1]
        self._kept = None  # its memory is given back before there is another one
        trainer = Trainer(network, job.protocol, job.precision, device, team=job.team)
        if trainer.captures:
            self._kept = key, trainer
        return trainer


def _trainer_key(job: Job) -> str:
    """Return what two runs must have in common to share captured steps."""
    told = (job.model.identity(), job.protocol.identity(), job.train.shape, job.train.classes)
    return canonical_json([*told, job.device])


def run(
    job: Job,
    checkpoint: Checkpoint | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    observer: Observer | None = None,
    trainers: Trainers | None = None,
) -> tuple[Network, Curve]:
    """Train a network and test it at the protocol's epochs.

    Parameters
    ----------
    job : Job
        What to train on what.
    checkpoint : Checkpoint, optional
        Where every epoch's state is kept; a run that was cut short goes on from it.
    progress : callable
        Told the epochs done and all epochs.
    observer : Observer, optional
        Shown the network after every epoch; its time is training time.
    trainers : Trainers, optional
        Where runs that follow each other share captured steps. The network that is returned is
        then good until the next run.

    Returns
    -------
    network : Network
        With the last epoch's weights, in evaluation mode.
    curve : Curve
        Losses, tests and seconds, those before an interruption included.

    Raises
    ------
    LossNotFiniteError
        When the loss is not finite.
    """
    device = torch.device(job.device)
    forked = [device.index or 0] if device.type == "cuda" else []
    with deterministic(), torch.random.fork_rng(devices=forked):
        trainer = (trainers or Trainers()).trainer(job)
        with trainer.at_work():
            curve = _run(job, trainer, checkpoint, progress, observer or Observer())
    return trainer.network.eval(), curve


def guesses(network: Network, job: Job) -> IntArray:
    """Return the labels that a trained network gives the test images of its job, int64 [N]."""
    if job.test is None:
        raise TypeError("a job without test images was asked for guesses")
    device = torch.device(job.device)
    with deterministic():
        images = _test_images(job.test, job, device, chosen(job))
        guessed: IntArray = predict(network, images, job.precision).cpu().numpy()
    return guessed


def _run(
    job: Job,
    trainer: Trainer,
    checkpoint: Checkpoint | None,
    progress: Callable[[int, int], None],
    observer: Observer,
) -> Curve:
    feeding = chosen(job)
    with contextlib.closing(_batches(job, trainer.device, feeding)) as batches:
        return _epochs(job, trainer, batches, feeding, checkpoint, progress, observer)


def _epochs(
    job: Job,
    trainer: Trainer,
    batches: Batches,
    feeding: Feeding,
    checkpoint: Checkpoint | None,
    progress: Callable[[int, int], None],
    observer: Observer,
) -> Curve:
    protocol, device, network = job.protocol, trainer.device, trainer.network
    test = None if job.test is None else _test_images(job.test, job, device, feeding)
    curve, done = Curve(), 0
    state = checkpoint.load() if checkpoint else None
    if state is not None:
        _restore(state, trainer, observer)
        curve, done = Curve.from_json(state.progress), state.epoch
        curve.before_s, curve.elsewhere_s = state.seconds, state.elsewhere_s
    curve.precision, curve.precision_reason = trainer.precision.name, trainer.precision.reason
    curve.is_streamed, curve.feeding_reason = feeding.is_streamed, feeding.reason
    pace, energy = Pace(checkpoint.share if checkpoint else 0.0), EnergyMeter(job.device)
    for epoch in range(done + 1, protocol.epochs + 1):
        timer = DeviceTimer(device)
        curve.train_loss.append(_train_epoch(trainer, batches, job, epoch))
        observer.observe(epoch, network)
        curve.training_s += timer.lap()
        if test is not None and protocol.is_tested(epoch):
            guessed = predict(network, test, trainer.precision)
            right = right_by_class(guessed, test.labels, len(job.train.classes))
            curve.tests[epoch] = trainer.total(right).tolist()
            curve.testing_s += timer.lap()
        joules = _joules(energy.lap(), trainer, job.team)
        if joules is not None:
            curve.energy_j = (curve.energy_j or 0.0) + joules
        if checkpoint and job.team.leads and epoch < protocol.epochs and pace.is_due:
            pace.save(checkpoint, _state(epoch, trainer, curve, observer))
        progress(epoch, protocol.epochs)
    curve.unsaved, curve.is_captured = pace.problem, trainer.is_captured
    curve.by_place = gone_by_place(network)
    curve.capture_failure = trainer.capture_failure
    if job.team.size > 1:
        process, device_peak = _peaks(trainer, job)
        curve.process_peak_bytes = max(curve.process_peak_bytes, process)
        curve.device_peak_bytes = max(curve.device_peak_bytes, device_peak)
        if checkpoint and job.team.leads:  # it tells the others' result
            checkpoint.save(_state(protocol.epochs, trainer, curve, observer))
    return curve


def _joules(own: float | None, trainer: Trainer, team: Team) -> float | None:
    """Return the joules of all processes; None where one of them has nobody who counts."""
    if team.size == 1:
        return own
    # Every process takes part, whether it has joules or not: the others wait for it.
    told = torch.tensor([own or 0.0, own is None], dtype=torch.float64, device=trainer.device)
    joules, missing = trainer.total(told).tolist()
    return None if missing else float(joules)


def _peaks(trainer: Trainer, job: Job) -> tuple[int, int]:
    """Return the most bytes that one of the processes held, and the most of its GPU."""
    own = [peak_memory_bytes(), devices.peak_memory_bytes(job.device) or 0]
    told = torch.zeros(job.team.size, 2, dtype=torch.float64)
    told[job.team.rank] = torch.tensor(own, dtype=torch.float64)
    process, device = trainer.total(told.to(trainer.device)).amax(0).tolist()
    return int(process), int(device)


def _batches(job: Job, device: torch.device, feeding: Feeding) -> Batches:
    if not feeding.is_streamed:
        held = _on_device(job.train, job, device, job.protocol.padding)
        return ResidentBatches(held, job.train.labels, job)
    from bench.streaming import StreamedBatches

    return StreamedBatches(job.train, job, device)


def _test_images(
    test: ImageDataset, job: Job, device: torch.device, feeding: Feeding
) -> TestImages:
    own = own_part(test, job.team)
    if not feeding.is_streamed:
        return _on_device(own, job, device)
    from bench.streaming import StreamedImages

    return StreamedImages(own, job, device)


def _on_device(
    images: ImageDataset, job: Job, device: torch.device, padding: int = 0
) -> DeviceImages:
    fill = job.protocol.crop_fill
    pixels: Any = np.asarray(images.images)  # decodes what was not read yet
    return DeviceImages(pixels, images.labels, job.normalisation, device, padding, fill)


def _train_epoch(trainer: Trainer, batches: Batches, job: Job, epoch: int) -> float:
    protocol = job.protocol
    steps, seen = protocol.steps_per_epoch(job.load), 0
    if protocol.schedule == "drop" and epoch == protocol.drop_epoch + 1:
        trainer.forget_momenta()
    trainer.begin_epoch()
    others = (job.team.rank,) if job.team.rank else ()
    torch.manual_seed(derive_seed(job.seed, "dropout", epoch, *others))
    for step in range(steps):
        parts = batches.at((epoch - 1) * steps + step)
        trainer.step(parts, batches, learning_rate(protocol, epoch - 1, step, steps))
        seen += sum(len(part.index) for part in parts)
    mean_loss = trainer.end_epoch(seen)
    if not math.isfinite(mean_loss):
        raise _not_finite(f"the loss is {mean_loss} in epoch {epoch}", trainer, protocol)
    # A step's loss is that before it: what the last one has done shows in no loss.
    if epoch == protocol.epochs and not trainer.has_finite_weights():
        raise _not_finite(f"weights are not finite after epoch {epoch}", trainer, protocol)
    return mean_loss


def _not_finite(what: str, trainer: Trainer, protocol: Protocol) -> LossNotFiniteError:
    return LossNotFiniteError(
        f"{what} of {protocol.epochs}. Lower the learning rate (now {protocol.learning_rate:g}) "
        f"or raise the precision (now {trainer.precision.name})"
    )


def trained_network(job: Job, state: TrainingState) -> tuple[Network, Curve]:
    """Return what :func:`run` gave to the processes that left this state after the last epoch."""
    network = adapted(fresh_network(job.model, job.train, job.seed), job.protocol)
    kind = "network/"
    tensors = {
        name.removeprefix(kind): value
        for name, value in state.tensors.items()
        if name.startswith(kind)
    }
    network.load_state_dict(tensors)
    return network.eval(), Curve.from_json(state.progress)


def weights_digest(network: Network) -> str:
    """Return a digest of all weights and buffers: equal runs have equal digests."""
    total = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(network.state_dict().items()):
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Have torch use deterministic algorithms only, within the block."""
    # The same switch as use_deterministic_algorithms, without its 3 s import of the compiler.
    before = torch.get_deterministic_debug_mode()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    torch.set_deterministic_debug_mode("error")
    # Nothing here reads what it did not write; filling all new memory takes a tenth of a step.
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        memory.fill_uninitialized_memory = filled


def _state(epoch: int, trainer: Trainer, curve: Curve, observer: Observer) -> TrainingState:
    groups = {
        "network": trainer.network.state_dict(),
        "optimizer": trainer.optimizer_tensors(),
        "observed": observer.tensors(),
    }
    tensors = {
        f"{kind}/{name}": value.detach().contiguous()
        for kind, group in groups.items()
        for name, value in group.items()
    }
    seconds = curve.training_s + curve.testing_s
    return TrainingState(epoch, tensors, curve.to_json(), seconds, curve.elsewhere_s)


def _restore(state: TrainingState, trainer: Trainer, observer: Observer) -> None:
    groups: dict[str, dict[str, Tensor]] = {"network": {}, "optimizer": {}, "observed": {}}
    for name, value in state.tensors.items():
        kind, _, rest = name.partition("/")
        groups[kind][rest] = value
    trainer.network.load_state_dict(groups["network"])
    trainer.restore_optimizer(groups["optimizer"])
    observer.restore(groups["observed"])
