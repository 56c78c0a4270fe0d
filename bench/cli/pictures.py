"""``bench pictures``: what methods keep, or make, as contact sheets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli import stopping
from bench.cli.options import debug_option, results_option, threads_option
from bench.errors import BenchError
from bench.progress import Progress
from bench.resources import crowding

if TYPE_CHECKING:
    from bench.budgets import Budget
    from bench.contract import CompressedSet, Context, ImageDataset, Method
    from bench.datasets import Dataset, Source
    from bench.results import Results


@click.command()
@click.option("--dataset", default="digits", show_default=True, help="As in bench run.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Folder or zip file that holds the data set."
)
@click.option("--download", is_flag=True, help="Fetch the data set when it is missing.")
@click.option(
    "--methods", default="dq,adq", show_default=True, help="Methods with parameters, a sheet each."
)
@click.option(
    "--ratio", default="5", show_default=True, help="Percent of the training images to keep."
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Selection seed."
)
@click.option(
    "--out", type=click.Path(path_type=Path),
    help="Folder for the sheets; default: pictures in the results folder, for bench report.",
)  # fmt: skip
@click.option("--label", help="What captions call the data set; default: its name.")
@click.option(
    "--side",
    default=48,
    show_default=True,
    type=click.IntRange(8, 512),
    help="Pixels of a picture's side.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@threads_option
@results_option
@debug_option
@stopping.resumes
def pictures(
    dataset: str,
    data: Path | None,
    download: bool,
    methods: str,
    ratio: str,
    seed: int,
    out: Path | None,
    label: str | None,
    side: int,
    device: str,
    threads: int | None,
    results: Path,
) -> None:
    """Draw the first images of every class that methods keep or make: OUT/METHOD-RATIO.jpg.

    Sheets in the results folder become figures of its report; captions tell ratio, seed and data.
    A sheet of another seed or of other data takes the place of one of the same name, and is told.

    Selections and what they need are taken from the results folder, or computed and kept there.
    Nothing is trained on them.
    """
    from bench.budgets import Budget
    from bench.cells import EVERYTHING
    from bench.contract import METHODS
    from bench.datasets import DATASETS, Source
    from bench.execution import default_threads, prepare_torch, resolve_device
    from bench.results import PICTURES, Results
    from bench.storage import replacing
    from reports.pictures import caption_of, method_sheet

    chosen, budget = METHODS.make(methods), Budget.parse(ratio)
    setting, source = DATASETS.make_one(dataset), Source(data, download)
    used = resolve_device(device)
    folder = Results(results, warn=lambda message: click.echo(f"warning: {message}", err=True))
    train = setting.load(source).train
    if told := crowding(threads or 1):
        folder.warn(told)
    prepare_torch(threads or default_threads(min(train.shape[:2])))
    place = out or results / PICTURES
    with folder.as_before_if_refused():
        folder.prepare()
        for name, method in file_names(chosen, budget).items():
            asked = budget if method.budgeted else EVERYTHING
            context = _context(setting, source, seed, used, folder)
            kept = _selected(method, train, asked, context)
            sheet = method_sheet(method, asked, seed, kept, train, label or setting.spec, side)
            before = caption_of(place / name)
            with replacing(place / name) as temporary:
                temporary.write_bytes(sheet)
            if before and before != caption_of(place / name):
                click.echo(f"note: {name} took the place of a sheet of: {before}", err=True)
            click.echo(str(place / name))


def file_names(methods: list[Method], budget: Budget) -> dict[str, Method]:
    """Return a file's name for every method: spec and ratio, in characters that all systems take.

    Methods that no budget changes are named without it.
    """
    named: dict[str, Method] = {}
    for method in methods:
        plain = re.sub(r"[^\w.=+-]+", "-", method.spec).strip("-")
        plain += f"-{budget.label}" * method.budgeted
        name, number = f"{plain}.jpg", 1
        while name in named:
            number += 1
            name = f"{plain}-{number}.jpg"
        named[name] = method
    return named


def _selected(
    method: Method, train: ImageDataset, budget: Budget, context: Context
) -> CompressedSet:
    from bench.selecting import select

    try:
        return select(method, train, budget, context)
    except BenchError:
        raise
    except Exception as error:  # whatever a method raises is told in a line; --debug shows it
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise BenchError(f"{method.spec} failed: {type(error).__name__}: {reason}") from error


def _context(dataset: Dataset, source: Source, seed: int, device: str, results: Results) -> Context:
    """Return the context that a run's cell would have, so that both share what is stored."""
    from bench.context import RunContext
    from bench.provenance import continuation_stamp

    return RunContext(
        dataset={**dataset.identity(), "fingerprint": dataset.fingerprint(source)},
        selection_seed=seed,
        device=device,
        store=results.artefacts,
        leases=results.leases,
        checkpoint=lambda name: results.checkpoint(name, continuation_stamp(device)),
        progress=_Stages(),
    )


class _Stages(Progress):
    """A line when a method's stage begins for the first time."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def stage(self, stage: str, done: int, total: int) -> None:
        """Tell a new stage."""
        if stage not in self._told:
            click.echo(f"{stage} ...", err=True)
            self._told.add(stage)
