"""Distance of training trajectories by texture: ADQ's Fig. 4, from a study's file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import DamagedFileError
from bench.identity import canonical_json
from bench.results import STUDIES
from reports.copies import dataset_label
from reports.figures.style import COLOURS, LINES, MARKERS, Drawing, grid, legend, panels, style
from reports.statistics import t_interval
from reports.tables import ascii_name

KIND = "trajectory"
_FEWEST_FOR_BANDS = 3
"""Seeds; the interval of two hides everything."""
_BATCHES = ("low", "medium", "high", "random")


def read_studies(results: Path, leave_out: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return the studies that ``bench reproduce adq-fig4`` left in a results folder.

    ``leave_out`` is told of each that cannot be used, and why.
    """
    from bench.storage import read_json

    found = []
    for path in sorted((results / STUDIES).glob(f"{KIND}-*.json")):
        try:
            found.append(read_json(path))
        except (DamagedFileError, OSError) as error:
            leave_out(f"{error}. Make it anew with: bench reproduce adq-fig4")
    return found


def trajectory_drawings(studies: Sequence[Mapping[str, Any]]) -> Iterator[Drawing]:
    """Yield a figure for each study's data, model and protocol; seeds are averaged."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for study in studies:
        if study.get("kind") == KIND:
            specs = study["specs"]
            data = dataset_label(specs["dataset"], study["fingerprint"])
            identity = canonical_json([study.get("model"), study.get("protocol")])
            key = (data, study["fingerprint"], specs["model"], specs["protocol"], identity)
            groups.setdefault(key, []).append(study)
    for (dataset, fingerprint, model, protocol, _), members in groups.items():
        where = f"{dataset}, {model}, protocol {protocol}"
        with style():
            canvas, [axes] = panels(1, 2, 3.2, 3.0)
            for place, (what, title) in enumerate(_DISTANCES.items()):
                for number, batch in enumerate(_BATCHES):
                    runs = [study["distances"][batch][what] for study in members]
                    values = [t_interval(column) for column in zip(*runs, strict=True)]
                    epochs = members[0]["epochs"]
                    axes[place].plot(
                        epochs, [value.mean for value in values], color=COLOURS[number],
                        linestyle=LINES[number], marker=MARKERS[number], markersize=4,
                        markevery=max(1, len(values) // 8), linewidth=1.3, label=_LABELS[batch],
                    )  # fmt: skip
                    if len(members) >= _FEWEST_FOR_BANDS:
                        axes[place].fill_between(
                            epochs,
                            [value.mean - (value.half_width or 0) for value in values],
                            [value.mean + (value.half_width or 0) for value in values],
                            color=COLOURS[number], alpha=0.12, linewidth=0,
                        )  # fmt: skip
                axes[place].set_title(title, loc="left")
                axes[place].set_xlabel("epoch")
                grid(axes[place])
            legend(canvas, axes, most=2)
        n = len(members)
        caption = (
            "As ADQ's Fig. 4: networks trained on the thirds of the training images with the "
            "lowest, medium and highest texture, and on a random third, against one trained on all "
            f"of them from the same initial weights; {n} seed{'s' * (n > 1)}"
            f"{', mean' * (n > 1)}{' and 95 % interval' * (n >= _FEWEST_FOR_BANDS)}. The paper's "
            "distance is not found: shown are the distance of the weights, divided by how far the "
            "one trained on all has moved, and 1 minus the cosine of the two displacements (both "
            "our choice). "
            f"Data: {fingerprint}."
        )
        title = f"Texture and trajectory distance: {where}"
        yield Drawing(ascii_name(f"{KIND} {dataset} {model} {protocol}"), title, caption, canvas)


_DISTANCES = {
    "relative": "distance / displacement of the expert",
    "angle": "1 - cosine of the displacements",
}
_LABELS = {
    "low": "low texture", "medium": "medium texture", "high": "high texture",
    "random": "random third (control)",
}  # fmt: skip
