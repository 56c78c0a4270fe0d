"""``bench compress``: a user's own folder of images in, a smaller one out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.choices import By, Link
from bench.cli import stopping
from bench.cli.comparing import Comparison
from bench.cli.display import tell
from bench.cli.options import MOST_THREADS, debug_option, json_option
from bench.cli.stages import stages
from bench.errors import UsageError
from bench.resources import crowding

if TYPE_CHECKING:
    from bench.compressing.output import Output
    from bench.compressing.request import ByIndices, ByMethod
    from bench.compressing.source import ImageFiles
    from bench.contract import Method
    from reports.tables import Table


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be kept, as typed."""

    method: str | None
    ratio: str | None
    from_indices: Path | None
    by: By | None
    allow_missing: bool
    size: int | None
    seed: int
    skip_broken: bool
    is_lossless: bool

    def request(self, files: ImageFiles) -> ByMethod | ByIndices:
        """Return the request; raise a UsageError where options do not fit together."""
        from bench.budgets import Budget
        from bench.compressing.request import ByIndices, ByMethod
        from bench.contract import METHODS, Keeps
        from bench.indices import read_indices

        if self.from_indices is not None:
            return ByIndices(
                path=self.from_indices,
                indices=read_indices(self.from_indices),
                by=self.by,
                allow_missing=self.allow_missing,
            )
        assert self.method is not None  # as check() says
        method = METHODS.make_one(self.method)
        if method.keeps is Keeps.BYTES:
            raise UsageError(
                f"'{method.spec}' counts the bytes of pixels, not those of your files. Name a "
                "method that selects images, e.g. adq"
            )
        if self.ratio is None and method.budgeted:
            raise UsageError("give --ratio, the percent of the images to keep, e.g. --ratio 20")
        if self.ratio is not None and not method.budgeted:
            kept = "everything" if method.name == "full" else "the same"
            tell(f"note: '{method.spec}' keeps {kept} whatever --ratio {self.ratio} says")
        budget = Budget.parse((self.ratio if method.budgeted else None) or "100")
        if budget.of == "bytes":
            raise UsageError(
                f"--ratio {self.ratio} counts the bytes of pixels, not those of your files. Give a "
                "percent of the images, e.g. --ratio 20"
            )
        return ByMethod(
            method=method,
            budget=budget,
            seed=self.seed,
            size=self.size or files.default_size(_most_pixels(method)),
            skip_broken=self.skip_broken,
            is_lossless=self.is_lossless,
        )

    def check(self) -> None:
        """Raise a UsageError for options that exclude each other."""
        if self.from_indices is None and self.method is None:
            raise UsageError(
                "give --method NAME with --ratio PERCENT, or --from-indices FILE. "
                "See: bench list methods"
            )
        if self.from_indices is not None and (self.method or self.ratio):
            raise UsageError("--from-indices takes neither --method nor --ratio. Leave them out")


def _most_pixels(method: Method) -> int:
    """Return the largest side to look at that nobody has to ask for."""
    from bench.compressing.source import LARGEST_DEFAULT

    return max([LARGEST_DEFAULT, *(weights.side or 0 for weights in method.weights())])


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="New folder, or a file ending in .zip, for what is kept.",
)
@click.option("--method", help="Method with parameters, e.g. adq or 'dq[bins=20]'.")
@click.option("--ratio", help="Percent of the images to keep.")
@click.option(
    "--from-indices",
    type=click.Path(path_type=Path),
    help="Keep what an index file names instead: a kept.csv or kept.npy, or a released file "
    "(.npy, .csv, .txt).",
)
@click.option(
    "--by",
    type=click.Choice([by.value for by in By]),
    help="What an index means where the file leaves it open: the number in a file's name (as in "
    "DQ's released files), the position in the sorted list of files, or a file's path.",
)
@click.option("--allow-missing", is_flag=True, help="Go on where an index has no file.")
@click.option(
    "--compare",
    type=click.Path(path_type=Path),
    help="Tell the overlap with an index file: one of others, or a kept.npy or kept.csv.",
)
@click.option(
    "--size",
    type=click.IntRange(1, 4096),
    help="Side in pixels at which the method looks at the images; default: the first "
    "image's, at most 64, or what its pretrained network was trained on (often 224).",
)
@click.option(
    "--memory",
    type=click.FloatRange(0, min_open=True),
    help="GiB that the images may take, above which they are decoded on demand; "
    "default: a quarter of what is free.",
)
@click.option(
    "--link",
    default=Link.HARD.value,
    show_default=True,
    type=click.Choice([link.value for link in Link]),
    help="How files get into an output folder; hard falls back on copies.",
)
@click.option(
    "--lossless",
    "is_lossless",
    is_flag=True,
    help="Write images that a method made as PNG; default: in the format and JPEG quality of "
    "the input's files.",
)
@click.option("--skip-broken", is_flag=True, help="Go on without images that cannot be read.")
@click.option(
    "--allow-empty-classes", is_flag=True, help="Go on when the ratio keeps nothing of a class."
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Selection seed."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--threads", type=click.IntRange(1, MOST_THREADS), help="CPU threads; default: one a core."
)
@click.option(
    "--keep-work",
    is_flag=True,
    help="Leave the folder of intermediates, .OUT.bench-work, beside the output.",
)
@json_option
@debug_option
@click.pass_context
@stopping.resumes
def compress(
    context: click.Context,
    /,
    directory: Path,
    out: Path,
    by: str | None,
    compare: Path | None,
    memory: float | None,
    link: str,
    allow_empty_classes: bool,
    device: str,
    threads: int | None,
    keep_work: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Keep the part of your own images that a method chooses.

    DIRECTORY is a folder or zip file with CLASS/IMAGE or train/CLASS/IMAGE; it is never changed.
    The output has the same layout, kept.csv, kept.npy and a short report. An interrupted command
    goes on when it is given again; a finished one answers at once.

    \b
    bench compress photos --method adq --ratio 20 --out fifth
    bench compress photos --method random --ratio 20 --out fifth.zip
    bench compress photos --from-indices fifth/kept.csv --out again
    bench compress photos --method dq --ratio 20 --out other --compare theirs.npy --by name-number

    Most methods keep files as they are and look at them at --size pixels. Those that make images
    (dm; drop=... of dq, adq and dqas) write them at that size. dm learns its images in 20,000
    steps, hours on a CPU: 'dm[iterations=1000]' takes a twentieth.
    """  # noqa: D301  # click needs the true character
    from bench.compressing.output import Output
    from bench.compressing.run import Settings
    from bench.compressing.run import compress as compressed
    from bench.compressing.source import find_images
    from reports.compression import report_files

    asked = Asked(**given, by=None if by is None else By(by))
    asked.check()
    files = find_images(directory)
    request = asked.request(files)
    output = Output(out)
    settings = Settings(
        link=Link(link),
        device=device,
        memory=None if memory is None else max(1, int(memory * 2**30)),
        threads=threads,
        allow_empty_classes=allow_empty_classes,
        keep_work=keep_work,
    )
    if told := crowding(threads or 1):
        tell(f"warning: {told}")
    compared = None if compare is None else Comparison.of(compare, asked.by, files, request)
    overlap = None if compared is None else compared.told
    with stages() as progress:
        manifest = compressed(files, request, output, settings, report_files, progress, overlap)
    table = None
    if compared is not None:
        if len(kept := output.positions()):
            table = compared.table(kept)
        else:
            tell("note: --compare tells nothing here: images that a method learnt have no position")
    _tell(manifest, output, table, as_json)


def _tell(manifest: dict[str, Any], output: Output, table: Table | None, as_json: bool) -> None:
    from bench.metering import told_bytes
    from reports import tables
    from reports.overlap import as_stored

    if as_json:
        overlap = {} if table is None else {"overlap": tables.as_json(table)}
        click.echo(json.dumps({**manifest, **overlap}, indent=1))
        return
    images, sizes = manifest["images"], manifest["bytes"]
    share = 100 * images["after"] / images["before"]
    click.echo(
        f"{output.place}: {images['after']:,} of {images['before']:,} images ({share:.3g} %) "
        f"of {len(manifest['classes'])} classes, "
        f"{told_bytes(sizes['after'])} of {told_bytes(sizes['before'])}"
    )
    if table is not None:
        click.echo("\n" + tables.as_text(table))
        if manifest.get("overlap") != as_stored(table):
            click.echo(
                f"note: {output.place} was finished before, so that its report does not tell this "
                "overlap. It does with another --out",
                err=True,
            )
    for note in manifest["notes"]:
        click.echo(f"note: {note}", err=True)
    if broken := manifest["broken"]:
        files = "1 file" if len(broken) == 1 else f"{len(broken)} files"
        click.echo(f"note: {files} could not be read, left out: {broken[0]}", err=True)
    if manifest["written"].get(Link.HARD):
        click.echo(
            "note: the files are hard links: editing one in place edits the input too. "
            "--link copy makes copies",
            err=True,
        )
    within = "report.md in it" if output.is_zip else str(output.place / "report.md")
    click.echo(f"Report: {within}", err=True)
