"""Batches of images that do not fit: decoded and augmented by worker processes ahead of time.

What a step sees is drawn before, image by image, from the seed and the step's number: how many
workers there are, and where a run is gone on from, changes nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from bench.augment import moved
from bench.batches import Batches, Part
from bench.errors import BenchError
from bench.identity import derive_seed
from bench.shielding import END, shielded
from bench.transforms import Normaliser, Transform, Wanted, test_transform, training_transform

if TYPE_CHECKING:
    from bench.arrays import Pixels
    from bench.augment import Epoch
    from bench.contract import ImageDataset
    from bench.jobs import Job

_AHEAD = 2
"""Batches that each worker prepares before they are asked for."""


class _Looks(Dataset[Tensor | BenchError]):
    """Images as a worker makes them."""

    def __init__(self, images: Pixels, transform: Transform) -> None:
        self._images = images
        self._transform = transform

    def __getitem__(self, wanted: Wanted) -> Tensor | BenchError:
        try:
            return self._transform(self._images, wanted)
        except BenchError as error:  # told as it is, without the worker's traceback around it
            return error


def _stacked(looks: list[Tensor | BenchError]) -> Tensor | BenchError:
    """Return looks as one batch: all first looks, then all second ones."""
    for one in looks:
        if isinstance(one, BenchError):
            return one
    stacked = torch.stack([look for look in looks if isinstance(look, Tensor)])
    return stacked.transpose(0, 1).flatten(0, 1)


def _loaded(
    images: Pixels, transform: Transform, batches: Iterator[list[Wanted]], job: Job
) -> Generator[Tensor]:
    """Yield batches as workers finish them, in order; raise what a worker could not read.

    The workers have ended, and closed their files, when the generator is closed or has raised.
    """
    workers = job.feed.worker_count(job.team.size)
    loader: DataLoader[Any] = DataLoader(
        _Looks(images, transform),
        batch_sampler=batches,
        num_workers=workers,
        # also in processes that were not forked themselves; what is forked need not be pickled
        multiprocessing_context="fork" if workers else None,
        collate_fn=_stacked,
        pin_memory=job.device.startswith("cuda"),
        prefetch_factor=_AHEAD if workers else None,
        generator=torch.Generator(),  # the global one belongs to the network's own chance
    )
    coming: Iterator[Any] = iter(())
    try:
        # The cluster tells the end of a job to each of its processes: workers that went first
        # would look as if they had failed.
        with shielded(END):
            coming = iter(loader)
        for batch in coming:
            if isinstance(batch, BenchError):
                raise batch
            yield batch
    finally:
        # torch has no public way; its own is to wait until nothing refers to the iterator, which
        # an error's traceback does.
        if isinstance(coming, _MultiProcessingDataLoaderIter):
            try:
                coming._shutdown_workers()
            finally:
                for worker in coming._workers:  # torch's last resort is the signal they do not hear
                    worker.kill()


class StreamedBatches(Batches):
    """Batches that workers make; see :class:`bench.batches.Batches`."""

    def __init__(self, train: ImageDataset, job: Job, device: torch.device) -> None:
        super().__init__(train.labels, job, device)
        self._images = train.images
        self._transform = training_transform(job.protocol, train.shape, job.normalisation)
        self._normalise = Normaliser(job.normalisation, device)
        self._shape = train.shape
        self._next = -1
        self._coming: Generator[Tensor] | None = None
        self._pass = -1
        self._chosen: Epoch | None = None

    def at(self, step: int) -> list[Part]:
        """Return what this process sees of a step; steps that follow each other are prepared."""
        if step != self._next:
            self.close()
            self._coming = _loaded(self._images, self._transform, self._ahead(step), self._job)
        self._next, coming = step + 1, self._coming
        assert coming is not None
        number, places = self._places(step)
        index = self._choices(number).order[places]
        parts = []
        for piece in self._pieces(len(index)):
            own = index[piece.images]
            images = self._on_device(next(coming)) if len(own) else self._none()
            images = self._distorted(images, step, len(index), piece)
            parts.append(Part(images, moved(own, self.device), piece))
        return parts

    def close(self) -> None:
        """End the workers."""
        if self._coming is not None:
            self._coming.close()
        self._coming, self._next = None, -1

    def _ahead(self, step: int) -> Iterator[list[Wanted]]:
        """Yield what the workers are to make from a step on, without end."""
        drawn: tuple[int, Epoch] | None = None
        while True:
            number, places = self._places(step)
            if drawn is None or drawn[0] != number:
                drawn = number, self._draws(number)
            count = len(drawn[1].order[places])
            for piece in self._pieces(count):
                first = places.start + piece.images.start
                wanted = _wanted(drawn[1], range(first, places.start + piece.images.stop))
                if wanted:
                    yield [self._seeded(one, number) for one in wanted]
            step += 1

    def _seeded(self, wanted: Wanted, number: int) -> Wanted:
        if not self._job.protocol.draws_image_by_image:
            return wanted
        seed = derive_seed(self._job.seed, "image", number + 1, wanted.index)
        return replace(wanted, seed=seed)

    def _choices(self, number: int) -> Epoch:
        if self._chosen is None or number != self._pass:
            self._pass, self._chosen = number, self._draws(number)
        return self._chosen

    def _draws(self, number: int) -> Epoch:
        return self._drawn(number, self._job.protocol.padding)

    def _on_device(self, batch: Tensor) -> Tensor:
        batch = batch.to(self.device, non_blocking=True)
        if not self._job.protocol.erasing:
            batch = self._normalise(batch)
        return batch.to(memory_format=torch.channels_last)

    def _none(self) -> Tensor:
        height, width, channels = self._shape
        return torch.zeros(0, channels, height, width, device=self.device)


def _wanted(drawn: Epoch, places: range) -> list[Wanted]:
    flips = drawn.flip
    return [
        Wanted(
            int(drawn.order[place]),
            int(drawn.top[place]),
            int(drawn.left[place]),
            flips is not None and bool(flips[place]),
        )
        for place in places
    ]


class StreamedImages:
    """Test images that workers decode, block by block; as :class:`bench.augment.DeviceImages`."""

    def __init__(self, images: ImageDataset, job: Job, device: torch.device) -> None:
        self._images = images
        self._job = job
        self._transform = test_transform(job.protocol, images.shape)
        self._normalise = Normaliser(job.normalisation, device)
        self.device = device
        self.labels = torch.from_numpy(images.labels).to(device)

    def __len__(self) -> int:
        return len(self._images)

    @property
    def pixels(self) -> int:
        """Pixels of an image."""
        height, width, _ = self._images.shape
        return height * width

    def blocks(self, size: int) -> Generator[Tensor]:
        """Yield all images in order, normalised, ``size`` of them at a time."""
        wanted = (
            [Wanted(index) for index in range(start, min(start + size, len(self)))]
            for start in range(0, len(self), size)
        )
        loaded = _loaded(self._images.images, self._transform, wanted, self._job)
        with contextlib.closing(loaded) as batches:
            for batch in batches:
                normalised = self._normalise(batch.to(self.device, non_blocking=True))
                yield normalised.to(memory_format=torch.channels_last)
