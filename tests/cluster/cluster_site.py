"""A folder to work in on the test cluster, and the command in it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from cluster_daemons import Cluster, wait_for

from bench.cells import Plan
from bench.datasets import Source
from bench.execution import execute
from bench.results import Results

COMMAND = [sys.executable, "-c", "from bench.cli import main; main()"]
PROFILE = """\
partition = "debug"
gpus_per_node = 1
cpus = 1
memory_gb = 0.5
max_minutes = 10
"""


@dataclass
class Site:
    """A folder to work in on a cluster, and the command in it."""

    cluster: Cluster
    folder: Path
    plugins: Path
    local: Path
    """Where the session's local runs are kept: tests share their cells."""
    on_cluster: ClassVar = ("--device", "cpu", "--slurm")
    """The options that a profile follows; torch sees no GPU in a stand-in for one."""

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def environment(self) -> dict[str, str]:
        path = [str(self.plugins), os.environ.get("PYTHONPATH", "")]
        ours = {"PYTHONPATH": os.pathsep.join(filter(None, path)), "BENCH_TALLY": str(self.folder)}
        return self.cluster.environment | ours

    @property
    def here(self) -> Site:
        """A site of its own for local runs: no naps, no faults, another tally."""
        return replace(self, folder=self.local)

    def noted(self, kind: str) -> list[str]:
        """What the plugin has written down."""
        path = self.folder / kind
        return path.read_text().splitlines() if path.exists() else []

    def written(self) -> list[str]:
        """The ids of the records that jobs wrote, each as often as it was written."""
        return sorted(line.split()[0] for line in self.noted("written") if " here" not in line)

    def set(self, name: str, value: object = "") -> None:
        """Tell the plugin something."""
        new = self.folder / f".{name}"
        new.write_text(str(value))
        new.rename(self.folder / name)  # jobs read it all the time

    def profile(self, **values: object) -> str:
        """Write a profile; return the name to give."""
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        kept = [line for line in PROFILE.splitlines() if line.split(" =")[0] not in values]
        path = self.folder / "profile.toml"
        path.write_text("\n".join([*kept, *lines]) + "\n")
        return str(path)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *arguments], cwd=self.folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def bench(self, *arguments: str, code: int = 0) -> str:
        """Run the command; return what it prints."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=1800)
        assert process.returncode == code, f"{arguments}\n{out}\n{err}"
        return out if code == 0 else err

    def status(self, *options: str) -> dict[str, Any]:
        return dict(json.loads(self.bench("status", "--json", *options)))

    def runs(self) -> list[str]:
        """The states of all runs of its jobs, requeued ones counted, as accounting tells them."""
        submitted = {path.stem for path in self.results.glob("submissions/*.json")}
        told = self.cluster.slurm("sacct", "-nPXD", "-o", "JobName,State").splitlines()
        pairs = (line.partition("|") for line in told)
        return [state for name, _, state in pairs if any(one in name for one in submitted)]

    def records(self, folder: str = "results") -> dict[str, dict[str, Any]]:
        found = [json.loads(p.read_text()) for p in (self.folder / folder).glob("records/*.json")]
        return {record["id"]: record for record in found}

    def outcomes(self, folder: str = "results") -> dict[str, tuple[Any, str]]:
        return {name: _outcome(record) for name, record in self.records(folder).items()}

    def submit(self, *sweep: str, **profile: object) -> str:
        return self.bench("run", *sweep, *self.on_cluster, self.profile(**profile))

    def wait(self, seconds: float = 1200) -> None:
        """Wait until the queue is empty."""
        wait_for(self.cluster.is_idle, seconds)

    def require_same_as_local(self, cells: int, seeds: int | None = None) -> None:
        """Require all records, each written once, and the same as those of a local run.

        Where there are very many, the local run is of the cells of the first seeds alone.
        """
        assert self.status()["cells"] == {"done": cells}, self.logs()
        assert self.written() == sorted(self.records()), "a cell was computed twice"
        theirs = self.outcomes()
        assert len(theirs) == cells
        (plan,) = self.results.glob("plans/*.json")
        planned = Plan.read(plan).cells
        chosen = [cell for cell in planned if seeds is None or cell.training_seed < seeds]
        local = Results(self.local / "results")
        local.prepare()
        execute(Plan(tuple(chosen)), local, Source(), "cpu")
        for cell in chosen:
            assert theirs[cell.id] == _outcome(local.record(cell.id))

    def workers(self, kind: str = "cell") -> dict[str, int]:
        """The process that holds each lease of a kind."""
        found = {}
        for path in self.results.glob(f"leases/{kind}-*.lease"):
            with contextlib.suppress(OSError, ValueError):
                found[path.stem] = int(json.loads(path.read_text())["process"])
        return found

    def node_of(self, process: int) -> str:
        """The virtual node that a process runs on."""
        told = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
        return next(e for e in told if e.startswith(b"SLURMD_NODENAME=")).decode().split("=")[1]

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in self.results.glob("slurm/*/*.out"))


def _outcome(record: dict[str, Any] | None) -> tuple[Any, str]:
    assert record is not None
    return record["metrics"], record["weights_digest"]
