"""The study behind ADQ's Fig. 4: trajectories of training on thirds of rising texture.

It trains networks whose weights are compared while they train. No cell does that, for records
hold no weights; what it finds lies in ``studies/`` of the results folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.identity import derive_seed, identifier
from bench.resources import crowding

if TYPE_CHECKING:
    from bench.arrays import IntArray
    from bench.cells import Sweep
    from bench.cli.options import SweepOptions
    from bench.contract import ImageDataset
    from bench.datasets import Source
    from bench.results import Results

SCHEMA = 1
MOST_POINTS = 40
"""Epochs at which weights are kept and compared, at most: those of ResNet-18 take 45 MB each."""
_NETWORKS = 5


@dataclass(frozen=True)
class Study:
    """Training on thirds of low, medium and high texture, and on a random third, and on all.

    Images are ordered by their texture level (ADQ, Eq. 3) over the whole training split and cut
    into three equal parts, as the paper says; no class is kept balanced. The paper's distance is
    not found; two are recorded, both our choice, of the students' weights s, the expert's e and
    the common initial ones i: ``relative`` ``|s - e| / |e - i|`` and ``angle``, 1 minus the
    cosine of s - i and e - i. Thirds get a third of the steps, as epochs of them have.
    """

    sweep: Sweep
    source: Source

    @classmethod
    def of(cls, options: SweepOptions) -> Study:
        """Return the study of a sweep file's data set, first model, first protocol and seeds."""
        return cls(options.sweep(), options.source)

    def identity(self, seed: int) -> dict[str, Any]:
        """Return what tells one seed's study from others."""
        return {
            "kind": "trajectory",
            "schema": SCHEMA,
            "dataset": self.sweep.dataset.identity(),
            "fingerprint": self.sweep.fingerprint,
            "model": self.sweep.models[0].identity(),
            "protocol": self.sweep.protocols[0].identity(),
            "points": MOST_POINTS,
            "seed": seed,
        }

    def path(self, results: Path, seed: int) -> Path:
        """Return where one seed's study lies."""
        from bench.results import STUDIES

        return results / STUDIES / f"{identifier('trajectory', self.identity(seed))}.json"

    def cost(self, results: Path) -> dict[str, Any]:
        """Return what the study would train."""
        from bench.protocols import Load

        images = sum(self.sweep.dataset.training_counts(self.source).values())
        protocol = self.sweep.protocols[0]
        seen = protocol.images_seen(Load.of_all(images))
        seen += (_NETWORKS - 1) * protocol.images_seen(Load(images // 3, images, 1 / 3))
        pending = [s for s in range(self.sweep.seeds) if not self.path(results, s).exists()]
        return {
            "seeds": self.sweep.seeds,
            "pending": len(pending),
            "images_seen": seen * len(pending),
            "words": f"{self.sweep.dataset.spec}, {self.sweep.models[0].spec}, protocol "
            f"{protocol.spec}: {_NETWORKS} networks for each of {len(pending)} pending seeds of "
            f"{self.sweep.seeds}, {seen * len(pending):,} images in all.",
        }

    def run(
        self, results: Results, device: str, threads: int | None, tell: Callable[[str], None]
    ) -> None:
        """Train what is pending and write its studies."""
        from bench.execution import default_threads, prepare_torch, resolve_device
        from bench.provenance import provenance
        from bench.storage import write_json

        folder = results.folder
        pending = [s for s in range(self.sweep.seeds) if not self.path(folder, s).exists()]
        if not pending:
            return
        used = resolve_device(device)
        train = self.sweep.dataset.load(self.source).train
        results.prepare()  # a device or data that are missing refuse it before
        if told := crowding(threads or 1):
            results.warn(told)
        prepare_torch(threads or default_threads(min(train.shape[:2])))
        for seed in pending:
            parts = thirds(train, seed)
            path = self.path(folder, seed)
            found = self._distances(train, parts, seed, used, tell)
            write_json(
                path,
                {
                    "id": path.stem,
                    **self.identity(seed),
                    "specs": {
                        "dataset": self.sweep.dataset.spec,
                        "model": self.sweep.models[0].spec,
                        "protocol": self.sweep.protocols[0].spec,
                    },
                    "epochs": points(self.sweep.protocols[0].epochs),
                    "distances": found,
                    "class_counts": {
                        name: train.subset(part).class_counts.tolist()
                        for name, part in parts.items()
                    },
                    "provenance": provenance(used),
                },
            )

    def _distances(
        self,
        train: ImageDataset,
        parts: Mapping[str, IntArray],
        seed: int,
        device: str,
        tell: Callable[[str], None],
    ) -> dict[str, dict[str, list[float]]]:
        """Return the distances of each part's network, by kind, at :func:`points`."""
        import torch
        from torch import Tensor

        from bench import training
        from bench.jobs import Job
        from bench.normalising import normalisation_for

        model, protocol = self.sweep.models[0], self.sweep.protocols[0]
        wanted = set(points(protocol.epochs))
        normalisation = normalisation_for(protocol.normalisation, train)

        class Recorder(training.Observer):
            """Keeps the weights at the wanted epochs."""

            def __init__(self) -> None:
                self.kept: list[Tensor] = []

            def observe(self, epoch: int, network: Any) -> None:
                """Keep the weights after a wanted epoch."""
                if epoch in wanted:
                    self.kept.append(_flat(network))

        def trained(name: str, images: ImageDataset) -> list[Tensor]:
            tell(f"seed {seed}: training on {name}, {len(images):,} images")
            recorder = Recorder()
            job = Job(
                model=model, protocol=protocol, train=images, test=None,
                normalisation=normalisation, seed=seed, device=device,
                full_images=len(train), share=len(images) / len(train),
            )  # fmt: skip
            training.run(job, observer=recorder)
            return recorder.kept

        def _flat(network: torch.nn.Module) -> Tensor:
            return torch.cat([p.detach().reshape(-1).float().cpu() for p in network.parameters()])

        initial = _flat(training.fresh_network(model, train, seed))
        expert = trained("all images", train)
        found = {}
        for name, part in parts.items():
            students = trained(f"the {name} third", train.subset(part))
            pairs = list(zip(students, expert, strict=True))
            found[name] = {
                "relative": [float((s - e).norm() / (e - initial).norm()) for s, e in pairs],
                "angle": [
                    1 - float(torch.cosine_similarity(s - initial, e - initial, dim=0))
                    for s, e in pairs
                ],
            }
        return found


def points(epochs: int) -> list[int]:
    """Return the epochs at which weights are compared: evenly spread, first and last included."""
    if epochs <= MOST_POINTS:
        return list(range(1, epochs + 1))
    step = (epochs - 1) / (MOST_POINTS - 1)
    return sorted({1 + round(number * step) for number in range(MOST_POINTS)})


def thirds(train: ImageDataset, seed: int) -> dict[str, IntArray]:
    """Return the positions of the thirds of low, medium and high texture, and of a random one.

    Texture decides, and among equal levels the position; each part is sorted by position. All
    have the same number of images; up to two in the middle belong to none.
    """
    import numpy as np

    from methods.parts.texture import texture_level

    size = len(train) // 3
    order = np.argsort(texture_level(train.images), kind="stable")
    middle = (len(train) - size) // 2
    drawn = np.random.default_rng(derive_seed(seed, "random third")).permutation(len(train))
    parts = {
        "low": order[:size],
        "medium": order[middle : middle + size],
        "high": order[-size:],
        "random": drawn[:size],
    }
    return {name: np.sort(part).astype(np.int64) for name, part in parts.items()}
