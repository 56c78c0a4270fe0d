"""The image files of a folder or zip file, by class."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from bench.datasets.decoding import UnreadableImageError, decode
from bench.datasets.files import Entry, FileTree, Zip, file_tree
from bench.datasets.imagefolder import split_roots
from bench.errors import DataError
from bench.identity import digest
from bench.indices import Named

if TYPE_CHECKING:
    from bench.arrays import IntArray

SPLITS = frozenset({"train", "test", "val", "valid", "validation"})
LARGEST_DEFAULT = 64
_LAYOUT = "Lay it out as CLASS/IMAGE or train/CLASS/IMAGE"


@dataclass(frozen=True)
class ImageFiles:
    """The image files that are to be compressed.

    Parameters
    ----------
    tree : FileTree
        The folder or zip file.
    root : PurePosixPath
        The folder in it whose subfolders are the classes.
    entries : tuple of Entry
        All image files below the classes, sorted by path. A position is one in this list.
    notes : tuple of str
        What a user should know: what was left out, which classes are empty.
    """

    tree: FileTree
    root: PurePosixPath
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The files' paths from the class on; the same wherever the folder lies."""
        return tuple(entry.path.relative_to(self.root).as_posix() for entry in self.entries)

    @cached_property
    def named(self) -> Named:
        """The files by their paths, which released indices are joined with."""
        paths = tuple(entry.path.as_posix() for entry in self.entries)
        return Named(paths, str(self.tree.place))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes' names, sorted."""
        return tuple(sorted({key.split("/")[0] for key in self.keys}))

    @cached_property
    def labels(self) -> IntArray:
        """The files' classes, int64 [N]."""
        number = {name: label for label, name in enumerate(self.classes)}
        return np.array([number[key.split("/")[0]] for key in self.keys], dtype=np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """What tells these files from others: their names, sizes and stamps.

        Unlike that of ``imagefolder``, which names what is published, it is of this place: an image
        that is replaced is noticed, and a copy that does not keep the times counts as another.
        """
        told = zip(self.keys, self.entries, strict=True)
        return f"files-{digest([[key, entry.size, entry.stamp] for key, entry in told])}"

    def default_size(self, most: int = LARGEST_DEFAULT) -> int:
        """Return the side to look at: the first readable image's, at most so many pixels."""
        for entry in self.entries:
            try:
                height, width, _ = decode(self.tree.content(entry)).shape
            except UnreadableImageError:
                continue
            return min(int(height), int(width), most)
        return most


def find_images(place: Path) -> ImageFiles:
    """Return the image files of ``place/CLASS/`` or ``place/train/CLASS/``.

    What lies in folders below a class belongs to it. In a zip file the classes may lie below a
    single folder more.

    Raises
    ------
    DataError
        When there is no such folder or zip file, no class, or more than one way to see them.
    """
    if not place.exists():
        raise DataError(f"{place} does not exist. Name a folder or a zip file of images")
    tree = file_tree(place)
    every = tree.entries()
    if any(entry.path.is_absolute() for entry in every):
        raise DataError(f"{place} has members with absolute paths. Unpack it and name the folder")
    root = _class_root(tree, every)
    depth = len(root.parts)
    below = [e for e in every if e.path.parts[:depth] == root.parts]
    entries = tuple(e for e in below if len(e.path.parts) >= depth + 2)
    if not entries:
        found = f"{len(every)} images, none of them in a class folder" if every else "no image"
        raise DataError(f"{place} holds {found}. {_LAYOUT}")
    return ImageFiles(tree, root, entries, tuple(_notes(tree, root, every, entries)))


def _class_root(tree: FileTree, entries: list[Entry]) -> PurePosixPath:
    roots = split_roots(entries)
    beside = {root: _folders_beside(entries, root) for root in roots}
    roots = [root for root in roots if not (beside[root] and _is_class(entries, root))]
    if len(roots) > 1:
        raise DataError(f"{tree.place} holds {len(roots)} folders named train. Name one of them")
    if roots:
        if others := beside[roots[0]]:
            raise DataError(
                f"{tree.place} holds train/CLASS/ beside other folders with images "
                f"({', '.join(others[:3])}). Name the folder that holds the classes, and only them"
            )
        return PurePosixPath(*roots[0], "train")
    root: tuple[str, ...] = ()
    while isinstance(tree, Zip) and (wrapper := _only_folder(entries, root)):
        root = (*root, wrapper)
    return PurePosixPath(*root)


def _folders_beside(entries: list[Entry], root: tuple[str, ...]) -> list[str]:
    """Return the folders with images beside ``root/train`` that are no split's."""
    depth = len(root) + 1
    parents = {e.path.parent.parts[:depth] for e in entries} - {(), root}
    return sorted({place[-1] for place in parents - {(*root, name) for name in SPLITS}})


def _is_class(entries: list[Entry], root: tuple[str, ...]) -> bool:
    """Return whether a folder ``train`` holds images of its own, as a class does."""
    return any(e.path.parent.parts == (*root, "train") for e in entries)


def _only_folder(entries: list[Entry], root: tuple[str, ...]) -> str:
    """Return the single folder that holds all class folders; empty where there is none."""
    depth = len(root)
    names = {e.path.parts[depth] for e in entries}
    is_wrapper = len(names) == 1 and all(len(e.path.parts) >= depth + 3 for e in entries)
    return names.pop() if is_wrapper else ""


def _notes(
    tree: FileTree, root: PurePosixPath, every: list[Entry], entries: tuple[Entry, ...]
) -> list[str]:
    notes = []
    depth = len(root.parts)
    empty = sorted(tree.subfolders(root) - {e.path.parts[depth] for e in entries})
    if empty:
        notes.append(f"Class folders without an image, left out: {', '.join(empty)}.")
    if root.name == "train" and len(every) > len(entries):
        notes.append(f"{len(every) - len(entries)} images outside of {root}/ are left out.")
    elif len(every) > len(entries):
        notes.append(f"{len(every) - len(entries)} images outside of class folders are left out.")
    return notes
