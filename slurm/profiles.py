"""Profiles: what a cluster wants to be told of a job, read from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from bench.errors import UsageError, unknown

_BUILT_IN = Path(__file__).with_name("profiles")
_USERS = Path("~/.config/bench/profiles")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How jobs are asked for.

    Parameters
    ----------
    partition, account, qos, constraint, reservation, exclude : str, optional
        As sbatch's options of these names.
    gpus_per_node : int
        GPUs of a job; 0 asks for none.
    gres : str, optional
        Generic resources in Slurm's words (``gpu:a100:2``), in place of ``gpus_per_node``.
    cpus : int
        CPU cores of a job.
    memory_gb : float
        Memory of a job, in GB.
    max_memory_gb : float
        The most that a retry may ask for after a job ran out of memory; 0 asks the cluster.
    max_minutes : int
        The longest time a job may ask for; cells of unknown time ask for all of it.
    minutes_per_job : int
        Expected minutes that cells are gathered up to, so that short cells share a job.
    cells_per_job : int
        Cells of a job; 0 gathers them by expected time.
    pack : int
        Cells that a job computes at a time; 0 decides by its device and memory.
    gpus_per_cell : int
        Processes that train a cell together, each on a GPU of its own.
    margin : float
        What expected times are multiplied with.
    array_parallelism : int
        Jobs of an array that run at once, at most.
    max_array_size : int
        Jobs of an array; 0 asks the cluster.
    setup : list of str
        Shell lines before the command: modules, a virtual environment.
    scratch : str, optional
        Folder for temporary files (TMPDIR); ``$SLURM_JOB_ID`` and the like are filled in.
    offline : bool
        Whether jobs are to touch no network for weights.
    python : str, optional
        Shell text that starts Python in a job; default: the interpreter that submits.
    use_srun : bool
        Whether jobs start Python with srun.
    extra : mapping
        Any other option of sbatch, e.g. ``{mail-type = "END"}``; true for one without a value,
        false leaves one out (``requeue``). A ``dependency`` is waited for besides the artefacts.
    artefacts : Profile, optional
        How the jobs that make shared artefacts are asked for, where that differs.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    reservation: str | None = None
    exclude: str | None = None
    gpus_per_node: int = 0
    gres: str | None = None
    cpus: int = 2
    memory_gb: float = 8.0
    max_memory_gb: float = 0.0
    max_minutes: int = 240
    minutes_per_job: int = 60
    cells_per_job: int = 0
    pack: int = 1
    gpus_per_cell: int = 1
    margin: float = 1.5
    array_parallelism: int = 64
    max_array_size: int = 0
    setup: tuple[str, ...] = ()
    scratch: str | None = None
    offline: bool = False
    python: str | None = None
    use_srun: bool = False
    extra: Mapping[str, str | int | bool] = field(default_factory=dict)
    artefacts: Profile | None = None

    def of(self, stage: str) -> Profile:
        """Return how the jobs of a stage are asked for."""
        return self if stage == "cells" or self.artefacts is None else self.artefacts

    @property
    def gpus(self) -> int:
        """GPUs of a job, however they are asked for."""
        if self.gres is None:
            return self.gpus_per_node
        return sum(_count(part) for part in self.gres.split(",") if part.split(":")[0] == "gpu")


def _count(gres: str) -> int:
    """Return the number in ``gpu``, ``gpu:2`` or ``gpu:a100:2``."""
    last = gres.partition("(")[0].rpartition(":")[2]
    return int(last) if last.isdigit() else 1


_STAGE = "artefacts"
_GPU_KEYS = ("gres", "gpus_per_node")
_OF_CELLS = ("pack", "gpus_per_cell")
_TYPES = get_type_hints(Profile)
_KEYS_OF = {
    "time": "max_minutes", "mem": "memory_gb", "cpus-per-task": "cpus",
    "gpus-per-node": "gpus_per_node",
    **{key: key for key in ("partition", "account", "qos", "constraint", "reservation", "exclude",
                            "gres")},
}  # fmt: skip
"""Options of sbatch that have a key of their own, which more than the text depends on."""
_OURS = frozenset({"array", "error", "job-name", "open-mode", "output", "signal"})
"""Options by which jobs, their logs and their ends are known."""
_AT_LEAST: dict[str, float] = {
    "cpus": 1, "memory_gb": 0.1, "max_minutes": 1, "minutes_per_job": 1, "margin": 1,
    "array_parallelism": 1, "gpus_per_node": 0, "cells_per_job": 0, "max_array_size": 0,
    "pack": 0, "gpus_per_cell": 1, "max_memory_gb": 0,
}  # fmt: skip


def read(name: str) -> Profile:
    """Return the profile of a file's path, or of a name: the user's own before a built-in one.

    Raises
    ------
    UsageError
        When there is none, or it has a wrong key or value.
    """
    path = _find(name)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read profile {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"profile {path} is not valid TOML: {error}") from None
    return from_values(content, str(path))


def from_values(content: Mapping[str, Any], path: str) -> Profile:
    """Return the profile of a TOML file's content; raise a UsageError for a wrong one."""
    own = {key: value for key, value in content.items() if key != _STAGE}
    if _STAGE not in content:
        return _profile(own, path)
    changed = content[_STAGE]
    if not isinstance(changed, dict):
        raise UsageError(f"{path}: {_STAGE} = {changed!r} is not allowed. Give a table of keys")
    asks_anew = any(key in changed for key in _GPU_KEYS)
    dropped = (*_GPU_KEYS, *_OF_CELLS) if asks_anew else _OF_CELLS
    kept = {key: value for key, value in own.items() if key not in dropped}
    return replace(_profile(own, path), artefacts=_profile({**kept, **changed}, path))


def _profile(content: Mapping[str, Any], path: str) -> Profile:
    names = {f.name for f in fields(Profile)} - {_STAGE}
    values = {}
    for key, value in content.items():
        if key not in names:
            raise unknown(f"key in profile {path}", key, names, "Put sbatch's options in [extra].")
        values[key] = _checked(key, value, path)
    if values.get("gres") and values.get("gpus_per_node"):
        raise UsageError(f"{path}: gres and gpus_per_node both ask for GPUs. Keep one")
    for option in values.get("extra", {}):
        _require_other(option, path)
    if "?" in str(values.get("extra", {}).get("dependency", "")):
        raise UsageError(
            f"{path}: dependency = {values['extra']['dependency']!r} is not allowed: cells also "
            "wait for the jobs of their artefacts, and '?' means any of them. Separate with commas"
        )
    profile = Profile(**values)
    if profile.gpus_per_cell != 1 and profile.pack != 1:
        raise UsageError(f"{path}: pack and gpus_per_cell do not go together. Keep one")
    if 0 < profile.gpus < profile.gpus_per_cell:
        raise UsageError(
            f"{path}: gpus_per_cell = {profile.gpus_per_cell}, and a job has {profile.gpus}. "
            "Raise gpus_per_node"
        )
    return profile


def _require_other(option: str, path: str) -> None:
    """Raise a UsageError for an option of sbatch that is set by other means."""
    name = option.replace("_", "-").lstrip("-")
    if name in _OURS:
        raise UsageError(f"{path}: {option} in [extra] is not allowed: jobs are known by it")
    if name in _KEYS_OF:
        raise UsageError(
            f"{path}: {option} in [extra] is not allowed. Give the key {_KEYS_OF[name]}"
        )


def _find(name: str) -> Path:
    if "/" in name or name.endswith(".toml"):
        return Path(name).expanduser()
    known: dict[str, Path] = {}
    for folder in (_BUILT_IN, _USERS.expanduser()):
        known |= {path.stem: path for path in folder.glob("*.toml")}
    if name not in known:
        raise unknown("profile", name, known, f"Give a file's path, or write {_USERS}/{name}.toml")
    return known[name]


def _checked(key: str, value: Any, path: str) -> Any:
    """Return a value as the field's type; raise a UsageError for one that it cannot be."""
    hint = _TYPES[key]
    if key == "setup":
        allowed, fits = "a list of texts", _is_list_of_text(value)
    elif key == "extra":
        allowed = "a table of texts, numbers and true or false"
        fits = isinstance(value, dict) and all(
            isinstance(one, str | int | float) and not _has_line_break(one)
            for one in (*value, *value.values())
        )
    elif hint is bool:
        allowed, fits = "true or false", isinstance(value, bool)
    elif hint in (int, float):
        least = _AT_LEAST[key]
        allowed = f"a {'whole ' * (hint is int)}number of at least {least:g}"
        fits = _is_number(value, hint) and value >= least
    else:
        allowed, fits = "a text on one line", isinstance(value, str) and not _has_line_break(value)
    if not fits:
        raise UsageError(f"{path}: {key} = {value!r} is not allowed. Give {allowed}")
    return tuple(value) if key == "setup" else value


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(line, str) for line in value)


def _is_number(value: Any, kind: Any) -> bool:
    kinds = (int,) if kind is int else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool)


def _has_line_break(value: Any) -> bool:
    return isinstance(value, str) and ("\n" in value or "\r" in value)
