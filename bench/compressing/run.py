"""One compression from the request to the finished output."""

from __future__ import annotations

import io
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import resources
from bench.choices import Link
from bench.compressing.choosing import Chosen, choose_by_indices, choose_by_method
from bench.compressing.encoding import JPEG_SUFFIXES, LOSSLESS, Format, format_like, usual_format
from bench.compressing.looking import View
from bench.compressing.output import (
    MANIFEST,
    OUR_FILES,
    POSITIONS,
    Output,
    Writer,
    index_bytes,
    manifest_bytes,
)
from bench.compressing.request import ByIndices, ByMethod, request_id
from bench.datasets.decoding import UnreadableImageError, decode
from bench.datasets.files import Entry, Folder
from bench.errors import BenchError, DataError, UsageError
from bench.execution import resolve_device
from bench.indices import INDEX
from bench.progress import Progress
from bench.provenance import machine, packages, source
from bench.results import Results

if TYPE_CHECKING:
    from bench.arrays import ByteArray, IntArray
    from bench.compressing.source import ImageFiles

    Pictures = dict[str, list[ByteArray]]
    """Some kept images of each class, uint8 [S, S, 3]."""
    Report = Callable[[dict[str, Any], Pictures], dict[str, bytes]]
    """Makes the report's files, by name, from the manifest and some pictures."""
    Compare = Callable[[IntArray], dict[str, Any]]
    """Tells what kept files have in common with others, as JSON values."""

SHARE_OF_MEMORY = 0.25
SHOWN = 8
SHOWN_CLASSES = 20
SHOWN_SIDE = 64


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a compression is done; no part of its identity but ``link``.

    Parameters
    ----------
    link : Link
        How kept files get into an output folder.
    device : str
        Where heavy computations run: auto, cpu, cuda or cuda:N.
    memory : int or None
        Bytes that the images may take; None for a quarter of what is free.
    threads : int or None
        CPU threads; None for what suits the images' size.
    allow_empty_classes : bool
        Go on when the ratio leaves classes without an image.
    keep_work : bool
        Leave the work folder, for another run with the same output's name.
    """

    link: Link = Link.HARD
    device: str = "cpu"
    memory: int | None = None
    threads: int | None = None
    allow_empty_classes: bool = False
    keep_work: bool = False


def compress(
    files: ImageFiles,
    asked: ByMethod | ByIndices,
    output: Output,
    settings: Settings,
    report: Report,
    progress: Progress | None = None,
    compare: Compare | None = None,
) -> dict[str, Any]:
    """Choose, write the output and return its manifest; a finished output is returned at once.

    Parameters
    ----------
    report : callable
        Given the manifest and some pictures of kept images by class; returns the report's
        files by name.
    compare : callable, optional
        Given the positions of the kept files, int64 [K]; returns what a new output's manifest
        tells of their overlap with others.

    Raises
    ------
    UsageError
        When the output's place is taken or lies in the input, or the request cannot be met.
    BenchError
        When the method fails or the output cannot be written; nothing is left at its place.
    """
    output.refuse_within(files)
    if taken := OUR_FILES & {entry.path.parts[0] for entry in files.entries}:
        raise DataError(f"a folder called {min(taken)} is in the way of our own file. Rename it")
    if settings.link is Link.SYMBOLIC and not isinstance(files.tree, Folder):
        raise UsageError("--link symbolic needs a folder of images. Unpack the zip file first")
    if settings.link is Link.SYMBOLIC and output.is_zip:
        raise UsageError("--link symbolic needs a folder as --out. Name one without .zip")
    fingerprint = files.fingerprint
    request_on = partial(request_id, asked, link=settings.link)
    manifest = output.finished(request_on, fingerprint)
    if manifest is None:
        with _work(output) as work:
            start = time.perf_counter()
            chosen = _chosen(asked, files, work, settings, progress or Progress())
            chosen_s = time.perf_counter() - start
            head = {
                "schema": 1,
                "id": request_on(fingerprint),
                "files": fingerprint,
                "asked": _words(asked, files, output),
            }
            with output.writing(settings.link) as writer:
                manifest = _write(writer, head, files, asked, chosen, chosen_s, report, compare)
    if not settings.keep_work:
        shutil.rmtree(output.work, ignore_errors=True)
    return manifest


@contextmanager
def _work(output: Output) -> Iterator[Results]:
    """Give the work folder, for one process at a time; leave none behind that holds nothing."""
    work = Results(output.work)
    was_there = output.work.exists()
    work.prepare()
    with work.leases.taken("output") as lease:
        if lease is None:
            raise UsageError(
                f"another process ({work.leases.owner('output')}) is at work on {output.place}. "
                "Wait for it, or name another place with --out"
            )
        try:
            yield work
        except BenchError:
            if not was_there and not (output.work / "artefacts").exists():
                shutil.rmtree(output.work, ignore_errors=True)
            raise


def _chosen(
    asked: ByMethod | ByIndices,
    files: ImageFiles,
    work: Results,
    settings: Settings,
    progress: Progress,
) -> Chosen:
    if isinstance(asked, ByIndices):
        return choose_by_indices(asked, files)
    memory = settings.memory or int(SHARE_OF_MEMORY * resources.available_memory())
    device = _prepared(settings.device, settings.threads)
    view = View(asked.size, memory, settings.threads or resources.cores())
    return choose_by_method(
        asked, files, view, work, device, progress, settings.allow_empty_classes
    )


def _prepared(device: str, threads: int | None) -> str:
    """Return the device to use, with torch set up for it."""
    # cuBLAS is deterministic only with a fixed workspace, read when its first handle is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    used = resolve_device(device)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    return used


def _words(asked: ByMethod | ByIndices, files: ImageFiles, output: Output) -> dict[str, Any]:
    """Return the request for people."""
    told: dict[str, Any] = {"input": str(files.tree.place), "output": str(output.place)}
    if isinstance(asked, ByIndices):
        return told | {"words": f"indices of {asked.path}", "indices": str(asked.path)}
    seed = f", seed {asked.seed}" * asked.method.seeded
    return told | {
        "words": f"{asked.method.called}, {asked.budget.words}{seed}",
        "method": asked.method.spec,
        "about": asked.method.info.about,
        "parameters": asked.method.values(),
        "facts": asked.method.facts(),
        "budget": asked.budget.words,
        "seed": asked.seed if asked.method.seeded else None,
        "size": asked.size,
    }


def _write(
    writer: Writer,
    head: dict[str, Any],
    files: ImageFiles,
    asked: ByMethod | ByIndices,
    chosen: Chosen,
    chosen_s: float,
    report: Report,
    compare: Compare | None,
) -> dict[str, Any]:
    """Write images, index files, report and manifest; return the manifest."""
    start = time.perf_counter()
    paths, sizes = [], []
    for path, image in _images(files, chosen, asked.is_lossless):
        if isinstance(image, Entry):
            writer.keep(files.tree, image)
        else:
            writer.write(path, image)
        paths.append(path.as_posix())
        sizes.append(image.size if isinstance(image, Entry) else len(image))
    classes = [files.classes[label] for label in chosen.labels]
    positions = chosen.positions.tolist() or [""] * len(chosen)
    rows = zip(paths, classes, positions, range(len(chosen)), strict=True)
    writer.write(PurePosixPath(INDEX), index_bytes(rows))
    writer.write(PurePosixPath(POSITIONS), _npy(chosen))
    accounts = _accounts(files, chosen, np.array(sizes, dtype=np.int64))
    manifest = {
        **head,
        **accounts,
        **({"overlap": compare(chosen.positions)} if compare and len(chosen.positions) else {}),
        "written": dict(writer.ways),
        "made": _made(paths, chosen),
        "broken": list(chosen.broken),
        "notes": [*files.notes, *chosen.notes, *_size_notes(accounts, asked.is_lossless)],
        "method_notes": chosen.told,
        "seconds": {
            "choosing": chosen_s,
            "writing": time.perf_counter() - start,
            "by_kind": chosen.costs,
        },
        "provenance": {
            "source": source(),
            "machine": machine(),
            "packages": packages(),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }
    for name, content in report(manifest, _pictures(files, chosen)).items():
        writer.write(PurePosixPath(name), content)
    writer.write(PurePosixPath(MANIFEST), manifest_bytes(manifest))
    return manifest


def _images(
    files: ImageFiles, chosen: Chosen, is_lossless: bool
) -> Iterator[tuple[PurePosixPath, Entry | bytes]]:
    """Yield the path of each kept image, with the input's file or the bytes of a new one."""
    kept = [files.entries[position] for position in chosen.positions]
    if chosen.images is None:
        yield from ((entry.path, entry) for entry in kept)
        return
    usual = LOSSLESS if is_lossless else usual_format(files)
    taken: set[PurePosixPath] = set()
    for rank, pixels in enumerate(chosen.images):
        if kept:
            form = LOSSLESS if is_lossless else format_like(files, kept[rank])
            path = _renamed(kept[rank].path, form, taken)
        else:
            form, folder = usual, files.root / files.classes[chosen.labels[rank]]
            path = folder / f"synthetic-{rank:06d}{form.suffix}"
        taken.add(path)
        yield path, form.encoded(pixels)


def _renamed(path: PurePosixPath, form: Format, taken: set[PurePosixPath]) -> PurePosixPath:
    """Return the path of a made image: the original's, with another ending where it must be."""
    if form.jpeg is not None:
        return path
    renamed = path.with_suffix(form.suffix)
    # a.jpg and a.bmp of one folder
    return path.with_name(f"{path.name}{form.suffix}") if renamed in taken else renamed


def _made(paths: list[str], chosen: Chosen) -> dict[str, Any] | None:
    """Return what made images are as files; None for files of the input."""
    if chosen.images is None:
        return None
    endings = Counter(PurePosixPath(path).suffix.lower() for path in paths)
    height, width = chosen.images.shape[1:3]
    jpegs = sum(endings[suffix] for suffix in JPEG_SUFFIXES)
    return {"height": height, "width": width, "jpeg": jpegs, "png": endings[".png"]}


def _size_notes(accounts: dict[str, Any], is_lossless: bool) -> list[str]:
    """Return what is to be said where made images take a larger share than their number."""
    images, sizes = accounts["images"], accounts["bytes"]
    share, of_bytes = (100 * one["after"] / one["before"] for one in (images, sizes))
    if accounts["content"] == "selected" or of_bytes <= 1.05 * share:
        return []
    hint = " They are written without loss; leave out --lossless for smaller ones." * is_lossless
    return [
        f"The made images are {share:.3g} % of the images and take {of_bytes:.3g} % of the bytes "
        f"of the files.{hint}"
    ]


def _accounts(files: ImageFiles, chosen: Chosen, sizes: np.ndarray) -> dict[str, Any]:
    """Return images and bytes of files, before and after, in all and by class."""
    count = len(files.classes)
    before = np.array([entry.size for entry in files.entries], dtype=np.int64)
    images = np.bincount(files.labels, minlength=count)
    kept = np.bincount(chosen.labels, minlength=count)
    by_class = [
        {
            "class": name,
            "images": int(images[label]),
            "kept": int(kept[label]),
            "bytes": int(before[files.labels == label].sum()),
            "kept_bytes": int(sizes[chosen.labels == label].sum()),
        }
        for label, name in enumerate(files.classes)
    ]
    content = "selected" if chosen.images is None else "reconstructed"
    return {
        "content": content if len(chosen.positions) else "synthetic",
        "images": {"before": len(files), "after": len(chosen)},
        "bytes": {"before": int(before.sum()), "after": int(sizes.sum())},
        "classes": by_class,
    }


def _pictures(files: ImageFiles, chosen: Chosen) -> Pictures:
    """Return the first kept images of the first classes; what cannot be read is left out."""
    shown: Pictures = {}
    for label, name in enumerate(files.classes[:SHOWN_CLASSES]):
        ranks = np.flatnonzero(chosen.labels == label)[:SHOWN]
        pictures = [_picture(files, chosen, int(rank)) for rank in ranks]
        shown[name] = [picture for picture in pictures if picture is not None]
    return shown


def _picture(files: ImageFiles, chosen: Chosen, rank: int) -> ByteArray | None:
    if chosen.images is not None:
        content = LOSSLESS.encoded(chosen.images[rank])
    else:
        content = files.tree.content(files.entries[chosen.positions[rank]])
    try:
        return decode(content, SHOWN_SIDE, is_draft=True)
    except UnreadableImageError:
        return None


def _npy(chosen: Chosen) -> bytes:
    file = io.BytesIO()
    np.save(file, chosen.positions.astype(np.int64))
    return file.getvalue()
