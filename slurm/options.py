"""The options of sbatch that a profile and an array ask for; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.allocation import BEGAN
from bench.shielding import WARNING
from slurm.signals import warning_s

if TYPE_CHECKING:
    from slurm.profiles import Profile
    from slurm.tasks import JobArray

_SIGNAL = WARNING.name.removeprefix("SIG")
_PATIENT = f"trap '' {_SIGNAL}"
"""Until Python listens, a warning that comes early shall not end the job."""
_BEGAN = f"export {BEGAN}=$(date +%s)"
_THREADS = tuple(
    f"export {name}=${{SLURM_CPUS_PER_TASK:-1}}"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
)
_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")


def parameters(
    profile: Profile, array: JobArray, name: str, before: Sequence[str]
) -> dict[str, Any]:
    """Return submitit's parameters of an array.

    Parameters
    ----------
    name : str
        The name of its jobs.
    before : sequence of str
        Slurm's numbers of the jobs that are to end first, in whatever way.
    """
    warned_s = warning_s(array.minutes)
    additional: dict[str, Any] = {"requeue": True}
    if not profile.use_srun:
        additional["signal"] = f"B:{_SIGNAL}@{warned_s}"
    if before:
        # afterok would leave cells pending for ever behind an artefact that failed.
        additional["dependency"] = "afterany:" + ":".join(before)
    if profile.reservation is not None:
        additional["reservation"] = profile.reservation
    for option, value in profile.extra.items():
        spelt = option.replace("_", "-")
        both = spelt == "dependency" and spelt in additional
        additional[spelt] = f"{value},{additional[spelt]}" if both else value
    additional = {option: value for option, value in additional.items() if value is not False}
    return {
        "job_name": name,
        "time": array.minutes,
        "cpus_per_task": profile.cpus,
        "mem": f"{round(array.memory_gb * 1024)}M",
        "gpus_per_node": profile.gpus_per_node or None,
        "gres": profile.gres,
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "exclude": profile.exclude,
        "array_parallelism": profile.array_parallelism,
        "signal_delay_s": warned_s,
        "setup": _setup(profile),
        "stderr_to_stdout": True,
        "use_srun": profile.use_srun,
        # srun no longer takes the number of CPUs from sbatch, since Slurm 22.05.
        "srun_args": ["--cpu-bind=none", f"--cpus-per-task={profile.cpus}"]
        if profile.use_srun
        else None,
        "wckey": None,
        "additional_parameters": additional,
    }


def _setup(profile: Profile) -> list[str]:
    lines = [_PATIENT, _BEGAN, *_THREADS]
    if profile.offline:
        lines += [f"export {name}=1" for name in _OFFLINE]
    if profile.scratch is not None:
        lines += [f"export TMPDIR={_double_quoted(profile.scratch)}", 'mkdir -p "$TMPDIR"']
    return [*lines, *profile.setup]


def _double_quoted(text: str) -> str:
    """Return a text in quotes within which the shell fills in variables and nothing else."""
    for sign in ("\\", '"', "`", "$("):
        text = text.replace(sign, f"\\{sign}")
    return f'"{text}"'
