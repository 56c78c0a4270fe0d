"""Training dynamics: what one training run shows of every image, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from methods.parts.embeddings import Extractor

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from bench.arrays import Arrays, IntArray
    from bench.augment import DeviceImages
    from bench.contract import Artefact, Context, ImageDataset
    from bench.jobs import Job
    from bench.models.networks import Network
    from bench.training import Observer


@dataclass(frozen=True)
class Dynamics:
    """A recorded training run on the whole training split.

    Parameters
    ----------
    spec : str
        The network that is trained, as in ``--models``; pretrained weights are where it starts.
    epochs : int
        Epochs of training; each is recorded.

    Notes
    -----
    The recipe is that of :class:`methods.parts.embeddings.Extractor`, without augmentation (our
    choice). Every image is looked at after every epoch, in evaluation mode and float32, where
    the papers read the outputs of the training steps themselves: all images are judged by one
    network, and their order within the epoch plays no part (our choice).
    """

    spec: str
    epochs: int

    def recorded(self, train: ImageDataset, ctx: Context, run: int = 0) -> Artefact:
        """Return the artefact with what was recorded; runs differ in their seed only.

        ``correct`` bool [E, N]; ``error``, the L2 norm of the class probabilities minus the
        one-hot label, float32 [E, N] in 0 ... sqrt(2); ``margin``, the label's probability
        minus the largest other one, float32 [E, N] in -1 ... 1; ``gradient``, the norm of the
        loss's gradient by the last layer, float32 [E, N]; and ``features``, the penultimate
        ones after the last epoch, float32 [N, d].
        """
        extractor = Extractor(self.spec, self.epochs)

        def make() -> Arrays:
            from bench import training
            from bench.augment import Normalisation
            from bench.jobs import Job

            job = Job(
                model=extractor.model,
                protocol=extractor.recipe,
                train=train,
                test=None,
                normalisation=Normalisation.of(train.images),
                seed=ctx.seed("dynamics", run),
                device=ctx.device,
            )
            recorder = _recorder(job)
            progress = partial(ctx.progress, "dynamics")
            _, curve = training.run(job, ctx.checkpoint(), progress, recorder)
            ctx.charge(curve.before_s, curve.elsewhere_s)
            return {name: tensor.numpy() for name, tensor in recorder.tensors().items()}

        params = {
            "model": extractor.model.identity(),
            "recipe": extractor.recipe.identity(),
            "run": run,
        }
        return ctx.artefact("dynamics", make, params=params)


def forgetting_events(correct: NDArray[np.bool_]) -> IntArray:
    """Return how often each image was classified rightly and wrongly an epoch later.

    Parameters
    ----------
    correct : bool [E, N]
        Whether each image was classified rightly after each epoch.

    Returns
    -------
    int64 [N]
        In 0 ... E / 2 (Toneva et al. 2019, Sec. 3).
    """
    return np.asarray((correct[:-1] & ~correct[1:]).sum(axis=0), dtype=np.int64)


def measures(logits: Tensor, penultimate: Tensor, labels: Tensor) -> dict[str, Tensor]:
    r"""Return what :meth:`Dynamics.recorded` tells of a batch, [B] each, in the logits' type.

    Parameters
    ----------
    logits : float [B, classes]
        Of the network.
    penultimate : float [B, d]
        What its last layer, linear with a bias, made them from.
    labels : int64 [B]
        The images' labels.

    Notes
    -----
    The cross-entropy's gradient by the last layer's weights is the outer product of
    :math:`p - y` and the features :math:`h`, and by its bias :math:`p - y`; together their norm
    is :math:`\|p - y\| \sqrt{1 + \|h\|^2}` exactly.
    """
    import torch

    probability = logits.softmax(1)
    is_label = labels[:, None] == torch.arange(logits.shape[1], device=labels.device)
    own = (probability * is_label).sum(1)
    error = torch.linalg.vector_norm(probability - is_label.to(logits.dtype), dim=1)
    return {
        "correct": logits.argmax(1) == labels,
        "error": error,
        "margin": own - probability.masked_fill(is_label, 0).amax(1),
        "gradient": error * (1 + penultimate.square().sum(1)).sqrt(),
    }


def _look(network: Network, images: DeviceImages) -> tuple[dict[str, Tensor], Tensor]:
    """Return the measures of all images, [N] each, and their features [N, d], on the CPU."""
    import torch

    from bench.testing import TEST_BATCH

    batches, features = [], []
    with torch.inference_mode():
        for start in range(0, len(images), TEST_BATCH):
            stop = min(start + TEST_BATCH, len(images))
            penultimate = network.features(images.plain(start, stop)).penultimate
            logits = network.classify(penultimate)
            batches.append(measures(logits, penultimate, images.labels[start:stop]))
            features.append(penultimate.cpu())
    joined = {name: torch.cat([batch[name] for batch in batches]).cpu() for name in batches[0]}
    return joined, torch.cat(features)


def _recorder(job: Job) -> Observer:
    """Return the observer that records a training run's dynamics."""
    # Its base needs torch, which a plan, to whom methods are told by this module, does without.
    import torch

    from bench.augment import DeviceImages
    from bench.training import Observer

    device = torch.device(job.device)
    images = DeviceImages(job.train.images, job.train.labels, job.normalisation, device)

    class Recorder(Observer):
        gathered: dict[str, Tensor]

        def __init__(self) -> None:
            self.gathered = {}

        def observe(self, epoch: int, network: Network) -> None:
            seen, features = _look(network.eval(), images)
            for name, row in seen.items():
                before = self.gathered.get(name, row.new_empty(0, len(row)))
                self.gathered[name] = torch.cat([before, row[None]])
            if epoch == job.protocol.epochs:
                self.gathered["features"] = features

        def tensors(self) -> dict[str, Tensor]:
            return self.gathered

        def restore(self, tensors: dict[str, Tensor]) -> None:
            self.gathered = dict(tensors)

    return Recorder()
