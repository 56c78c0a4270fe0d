"""Training of a small masked autoencoder: resumable at every epoch, the same on every run."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.augment import DeviceImages, Normalisation
from bench.checkpoints import TrainingState, saved_if_possible
from bench.errors import TrainingError
from bench.identity import derive_seed
from bench.optimizers import eager
from bench.training import deterministic
from methods.parts.mae import (
    BATCH,
    BETAS,
    LEARNING_RATE,
    SMALL,
    WARMUP,
    WEIGHT_DECAY,
)
from methods.parts.mae_network import MaskedAutoencoder, pad_to

if TYPE_CHECKING:
    from bench.contract import Context, ImageDataset
    from methods.parts.patches import PatchGrid


def trained(
    epochs: int, grid: PatchGrid, kept: int, train: ImageDataset, ctx: Context
) -> MaskedAutoencoder:
    """Train with the loss of MAE: the mean squared error of the dropped patches."""
    device = torch.device(ctx.device)
    images = DeviceImages(train.images, train.labels, Normalisation.of(train.images), device)
    seed = ctx.seed("mae")
    # The fused attention's gradient is not deterministic on every device.
    with torch.random.fork_rng(devices=[]), deterministic(), sdpa_kernel(SDPBackend.MATH):
        torch.manual_seed(derive_seed(seed, "initialisation"))
        network = MaskedAutoencoder(grid, train.shape[2], SMALL)
        network.initialise()
        network.to(device)
        optimizer = eager(torch.optim.AdamW)(
            [parameter for parameter in network.parameters() if parameter.requires_grad],
            lr=LEARNING_RATE,
            betas=BETAS,
            weight_decay=WEIGHT_DECAY,
        )
        checkpoint, seconds, elsewhere_s, done = ctx.checkpoint(), 0.0, 0.0, 0
        if (state := checkpoint.load()) is not None:
            _restore(state, network, optimizer)
            done, seconds, elsewhere_s = state.epoch, state.seconds, state.elsewhere_s
            ctx.charge(seconds, elsewhere_s)
        for epoch in range(done, epochs):
            start = time.perf_counter()
            generator = torch.Generator().manual_seed(derive_seed(seed, "epoch", epoch))
            loss = _train_epoch(network, optimizer, images, kept, (epoch, epochs), generator)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the masked autoencoder's loss is {loss} in epoch {epoch + 1}. "
                    "Look at the images, or choose mae=vit-large"
                )
            seconds += time.perf_counter() - start
            tensors = _tensors(network, optimizer)
            state = TrainingState(epoch + 1, tensors, seconds=seconds, elsewhere_s=elsewhere_s)
            if problem := saved_if_possible(checkpoint, state):
                ctx.tell("unsaved_checkpoint", problem)
            ctx.progress("mae", epoch + 1, epochs)
    return network.eval()


def _train_epoch(
    network: MaskedAutoencoder,
    optimizer: torch.optim.Optimizer,
    images: DeviceImages,
    kept: int,
    epoch_of: tuple[int, int],
    generator: torch.Generator,
) -> float:
    """Train on every image once, each with a mask of its own; return the mean loss."""
    epoch, epochs = epoch_of
    batches = torch.split(torch.randperm(len(images), generator=generator), BATCH)
    loss_sum = torch.zeros((), device=images.device)
    for step, index in enumerate(batches):
        noise = torch.rand(len(index), network.grid.total, generator=generator)
        order = noise.argsort(dim=1, stable=True).to(images.device)
        for group in optimizer.param_groups:
            group["lr"] = _rate((epoch + (step + 1) / len(batches)) / epochs)
        loss = _loss(network, _chosen(images, index), order, kept)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss_sum += loss.detach() * len(index)
    return float(loss_sum) / len(images)


def _loss(network: MaskedAutoencoder, images: Tensor, ids: Tensor, kept: int) -> Tensor:
    """Return the mean squared error of the patches that ``ids`` has after the first ``kept``.

    Where nothing is dropped, that of all patches.
    """
    images = pad_to(images, network.grid)
    error = ((network(images, ids[:, :kept]) - network.patches(images)) ** 2).mean(dim=2)
    lost = ids[:, kept:] if kept < ids.shape[1] else ids
    return torch.gather(error, 1, lost).mean()


def _chosen(images: DeviceImages, index: Tensor) -> Tensor:
    """Return some of the images, normalised, float32 [B, C, H, W]."""
    index = index.to(images.device)
    corner = torch.zeros_like(index)
    return images.augmented(index, corner, corner, None)


def _rate(share: float) -> float:
    """Return the learning rate after a share of the training: warm-up, then a cosine to 0."""
    if share <= WARMUP:
        return LEARNING_RATE * share / WARMUP
    return LEARNING_RATE * (1 + math.cos(math.pi * (share - WARMUP) / (1 - WARMUP))) / 2


def _tensors(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"adam/{number}/{name}": value for name, value in moments.items()}
    return {name: value.detach().contiguous() for name, value in tensors.items()}


def _restore(state: TrainingState, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    weights: dict[str, Tensor] = {}
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in state.tensors.items():
        kind, _, rest = name.partition("/")
        if kind == "network":
            weights[rest] = value
        else:
            number, _, moment = rest.partition("/")
            moments.setdefault(int(number), {})[moment] = value
    network.load_state_dict(weights)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
