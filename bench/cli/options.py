"""The options that commands share; each has one meaning everywhere."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from bench.errors import UsageError, unknown

if TYPE_CHECKING:
    from bench.cells import Sweep
    from bench.datasets import Source
    from bench.registry import Registry

_COUNTS = ("seeds", "selection_seeds")
_FLAGS = ("download", "no_baselines")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """What a user asked for, as typed."""

    dataset: str
    data: Path | None
    download: bool
    methods: str
    ratios: str
    seeds: int
    selection_seeds: int | None
    models: str | None
    protocol: str | None
    no_baselines: bool
    stream: str = "auto"
    workers: int | None = None

    @property
    def source(self) -> Source:
        """Where the data set's files are."""
        from bench.datasets import Source
        from bench.feeding import Feed, Stream

        return Source(self.data, self.download, Feed(Stream(self.stream), self.workers))

    def sweep(self) -> Sweep:
        """Return the sweep that these options name; raise a UsageError for a wrong one."""
        from bench.budgets import parse_budgets
        from bench.cells import Sweep, with_baselines
        from bench.contract import METHODS
        from bench.datasets import DATASETS
        from bench.models import MODELS
        from bench.protocols import PROTOCOLS

        methods = METHODS.make(self.methods)
        budgets = parse_budgets(self.ratios)
        dataset = DATASETS.make_one(self.dataset)
        protocol = self.protocol
        if protocol is None:
            protocol = dataset.default_protocol(self.source)
        protocols = PROTOCOLS.make(protocol)
        models = protocols[0].default_model if self.models is None else self.models
        return Sweep(
            dataset=dataset,
            fingerprint=dataset.fingerprint(self.source),
            methods=methods if self.no_baselines else with_baselines(methods),
            budgets=budgets,
            models=MODELS.make(models),
            protocols=protocols,
            seeds=self.seeds,
            selection_seeds=self.selection_seeds,
        )


def sweep_options(function: F) -> F:
    """Add the options that describe a sweep."""

    def names(kind: str) -> Any:
        return partial(_completed, kind)

    options = [
        click.argument("sweep_file", required=False, type=click.Path(path_type=Path)),
        click.option("--dataset", default="digits", show_default=True,
                     shell_complete=names("datasets"), help="Data set; see bench list datasets."),
        click.option("--data", type=click.Path(path_type=Path),
                     help="Folder or zip file that holds the data set."),
        click.option("--download", is_flag=True, help="Fetch the data set when it is missing."),
        click.option("--methods", default="dq,adq", show_default=True,
                     shell_complete=names("methods"),
                     help="Methods with parameters, e.g. 'adq[alpha=[0,0.5,1],scores=rs]'."),
        click.option("--ratios", default="10,20,30", show_default=True,
                     help="Percent of the training images to keep."),
        click.option("--seeds", default=3, show_default=True, type=click.IntRange(1),
                     help="Runs of each cell; seed k selects with k and trains with k."),
        click.option("--selection-seeds", type=click.IntRange(1),
                     help="Combine this many selections with each of the --seeds trainings."),
        click.option("--models", shell_complete=names("models"),
                     help="Networks to train; default: the protocol's."),
        click.option("--protocol", shell_complete=names("protocols"),
                     help="How to train and test; default: what suits the data set."),
        click.option("--no-baselines", is_flag=True, help="Leave out full and random."),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def results_option(function: F) -> F:
    """Add the option that names the results folder."""
    return click.option(
        "--results", default="results", show_default=True, type=click.Path(path_type=Path),
        help="Folder for records, artefacts and the report.",
    )(function)  # fmt: skip


class Pack(click.ParamType[int | None]):
    """A number of cells, or ``auto`` (None)."""

    name = "N|auto"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Return the number; None for auto."""
        text = str(value)
        if text == "auto":
            return None
        if not text.isdecimal() or int(text) < 1:
            self.fail(f"'{text}' is not allowed. Give a number of at least 1, or auto", param, ctx)
        return int(text)


MOST_THREADS = 1024
"""Of the option --threads: tens of thousands end the process inside of BLAS."""


def threads_option(function: F) -> F:
    """Add the option for the CPU threads of a training run."""
    return click.option(
        "--threads", type=click.IntRange(1, MOST_THREADS),
        help="CPU threads; default: what pays for the images' size.",
    )(function)  # fmt: skip


def pack_option(function: F) -> F:
    """Add the option for how many cells are computed at a time."""
    return click.option(
        "--pack", type=Pack(), default="1",
        help="Cells computed at a time on the device, a process each; auto: as many as pay.",
    )(function)  # fmt: skip


def gpus_per_cell_option(function: F) -> F:
    """Add the option for how many processes train a cell together."""
    return click.option(
        "--gpus-per-cell", type=click.IntRange(1), default=1, show_default=True,
        help="Processes that train a cell together, each on a GPU of its own, or on the CPU.",
    )(function)  # fmt: skip


def refuse_together(
    slurm: str | None, threads: int | None, pack: int | None, gpus_per_cell: int
) -> None:
    """Raise a UsageError for options of how cells are computed that do not go together."""
    here = {"threads": (threads, None), "pack": (pack, 1), "gpus-per-cell": (gpus_per_cell, 1)}
    decides = {"threads": "profile's cpus decide", "pack": "profile's pack decides"}
    for name, (given, default) in here.items():
        if slurm is not None and given != default:
            raise UsageError(
                f"--{name} is for runs here; with --slurm the "
                f"{decides.get(name, 'profile decides')}"
            )
    if gpus_per_cell != 1 and pack != 1:
        raise UsageError("--pack and --gpus-per-cell do not go together. Give one of them")


def feed_options(function: F) -> F:
    """Add the options for how images reach the networks."""
    return click.option(
        "--stream", type=click.Choice(["auto", "always", "never"]), default="auto",
        show_default=True, help="Decode images while they are needed; auto: where they do not fit.",
    )(
        click.option(
            "--workers", type=click.IntRange(0),
            help="Processes that decode streamed images; default: one a core, up to 8.",
        )(function)
    )  # fmt: skip


def slurm_option(function: F) -> F:
    """Add the option that names a profile of a Slurm cluster."""
    return click.option(
        "--slurm", metavar="PROFILE",
        help="Submit to a Slurm cluster: cpu, gpu, a profile of yours, or a TOML file's path.",
    )(function)  # fmt: skip


def json_option(function: F) -> F:
    """Add the option for machine-readable output."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def debug_option(function: F) -> F:
    """Add the option that shows tracebacks; it is read where errors are told."""
    return click.option(
        "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
    )(function)


def merged(context: click.Context, given: dict[str, Any]) -> SweepOptions:
    """Return the options of the command line over those of the sweep file over the defaults."""
    path: Path | None = given.pop("sweep_file")
    if path is not None:
        for key, value in _read_sweep_file(path, set(given)).items():
            if context.get_parameter_source(key) is ParameterSource.DEFAULT:
                given[key] = value
    return SweepOptions(**given)


def _read_sweep_file(path: Path, known: set[str]) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read sweep file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"sweep file {path} is not valid TOML: {error}") from None
    options: dict[str, Any] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name not in known:
            raise unknown(f"option in {path}", key, {k.replace("_", "-") for k in known})
        options[name] = _converted(name, value, path)
    return options


def _converted(name: str, value: Any, path: Path) -> Any:
    """Return a sweep file's value as the command line would give it."""
    if name in _COUNTS:
        allowed, fits = "a whole number of at least 1", type(value) is int and value >= 1
    elif name in _FLAGS:
        allowed, fits = "true or false", isinstance(value, bool)
    elif name == "data":
        allowed, fits = "a text in quotes", isinstance(value, str)
    else:
        items = value if isinstance(value, list) else [value]
        allowed = "a text in quotes, a number or a list of them"
        fits = all(isinstance(i, str | int | float) and not isinstance(i, bool) for i in items)
    if not fits:
        raise UsageError(f"{path}: {name} = {value!r} is not allowed. Give {allowed}")
    if name == "data":
        return path.parent / value
    return value if name in (*_COUNTS, *_FLAGS) else ",".join(map(str, items))


def _completed(
    kind: str, context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    done, comma, started = incomplete.rpartition(",")
    names = registry(kind).names()
    return [CompletionItem(done + comma + name) for name in names if name.startswith(started)]


def registry(kind: str) -> Registry[Any]:
    """Return the registry of a kind of component."""
    from bench.contract import METHODS
    from bench.datasets import DATASETS
    from bench.models import MODELS
    from bench.protocols import PROTOCOLS

    found: dict[str, Registry[Any]] = {
        "methods": METHODS,
        "datasets": DATASETS,
        "models": MODELS,
        "protocols": PROTOCOLS,
    }
    return found[kind]
