"""What goes wrong on clusters: preemption, time limits, dead nodes, controllers and workers."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster
LONG = (
    "--methods", "random", "--no-baselines", "--ratios", "30", "--seeds", "2",
    "--protocol", "smoke[epochs=60,test_every=30]",
)  # fmt: skip
NAPS = (
    "--methods", "nap", "--no-baselines", "--ratios", "10,20", "--seeds", "3",
    "--protocol", "smoke[epochs=1]",
)  # fmt: skip
SHARED = ("--methods", "shared-nap", *NAPS[2:])


def wait_for(what, seconds=600):
    limit = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < limit, f"{seconds} s have passed"
        time.sleep(0.1)
    return found


def in_a_cell(site):
    """The cells that are in the middle of their training, with the processes that train them."""
    started = {path.parent.name for path in site.results.glob("checkpoints/cell-*/newest.json")}
    return {cell: process for cell, process in site.workers().items() if cell in started}


def halted_in_a_cell(site):
    """Halt a worker in the middle of a cell; return the cell and the process."""
    for cell, process in in_a_cell(site).items():
        os.kill(process, signal.SIGSTOP)
        if not (site.results / "records" / f"{cell}.json").exists() and cell in site.workers():
            return cell, process
        os.kill(process, signal.SIGCONT)
    return None


def parent_of(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_preempted_cell_goes_on_from_its_checkpoint(site):
    site.submit(*LONG, cells_per_job=1)
    wait_for(lambda: in_a_cell(site))
    site.cluster.slurm(
        "sbatch", "-p", "high", "-N2", "--exclusive", "--output=/dev/null", "--wrap=sleep 3"
    )
    wait_for(lambda: "PENDING" in site.cluster.jobs())
    site.wait()
    runs = site.cluster.slurm("sacct", "-nPXD", "-o", "JobName,State")
    assert "PREEMPTED" in runs
    site.require_same_as_local(*LONG, cells=2)


def test_a_worker_killed_in_a_cell_leaves_it_to_a_retry(site):
    site.submit(*LONG, cells_per_job=1)
    cell, process = wait_for(lambda: halted_in_a_cell(site))
    os.kill(process, signal.SIGKILL)
    site.wait()
    status = site.status()
    assert status["cells"]["lost"] >= 1
    assert (site.results / "checkpoints" / cell / "newest.json").exists()
    site.bench("retry", "--slurm", site.profile(cells_per_job=1))
    site.wait()
    site.require_same_as_local(*LONG, cells=2)


def test_a_worker_killed_in_an_artefact_is_replaced_by_the_cells(site):
    site.set("nap", 600)
    site.submit(*SHARED, cells_per_job=3)
    process = wait_for(lambda: site.workers("order")).popitem()[1]
    site.set("nap", 1)
    os.kill(process, signal.SIGKILL)
    site.wait()
    assert site.noted("naps").count("shared") == 1
    site.require_same_as_local(*SHARED, cells=6)


def test_a_node_that_dies_has_its_cells_run_elsewhere(site):
    site.submit(*LONG, cells_per_job=1)
    workers = wait_for(lambda: in_a_cell(site))
    process = next(iter(workers.values()))
    node = site.node_of(process)
    site.cluster.kill(f"slurmd {node}")
    for one in [one for one in site.workers().values() if site.node_of(one) == node]:
        # Slurm's own process beside the job first: it would tell the controller of the job's end.
        os.kill(parent_of(one), signal.SIGKILL)
        os.kill(one, signal.SIGKILL)
    site.wait()
    assert "NODE_FAIL" in site.cluster.slurm("sacct", "-nPXD", "-o", "State")
    site.require_same_as_local(*LONG, cells=2)


@pytest.mark.slow
def test_a_daemon_that_dies_alone_has_no_cell_computed_twice(site):
    site.submit(*LONG, cells_per_job=1)
    process = next(iter(wait_for(lambda: in_a_cell(site)).values()))
    node = site.node_of(process)
    site.cluster.kill(f"slurmd {node}")  # its jobs live on, and Slurm runs them elsewhere too
    site.wait()
    site.require_same_as_local(*LONG, cells=2)


def test_a_restarted_controller_changes_nothing(site):
    site.submit(*LONG, cells_per_job=1)
    wait_for(lambda: in_a_cell(site))
    site.cluster.kill("slurmctld", signal.SIGTERM)
    told = site.bench("status")
    assert "Slurm does not tell of jobs" in told
    refused = site.bench("run", *LONG, *site.on_cluster, site.profile(), code=1)
    assert "squeue" in refused
    site.cluster.start_controller()
    site.wait()
    site.require_same_as_local(*LONG, cells=2)


def test_a_job_at_its_limit_goes_on_where_it_was(site):
    def runs():
        told = site.cluster.slurm("sacct", "-nPXD", "-o", "JobName,State").splitlines()
        return [run for run in told if name in run]

    site.set("nap", 2)
    site.submit(*NAPS, cells_per_job=6, max_minutes=2)
    name = next(iter(site.status()["submissions"]))
    wait_for(site.records)
    site.set("nap", 3600)
    wait_for(lambda: len(runs()) > 1)
    site.set("nap", 0)
    site.wait()
    site.require_same_as_local(*NAPS, cells=6)


def require_told_and_retried(site, *messages):
    """Require failures that name the time limit, and a retry that asks for more time."""
    status = site.status()
    assert status["reasons"]["failed"] == {"TimeOut": 6 - status["cells"].get("done", 0)}
    told = [json.loads(path.read_text()) for path in site.results.glob("failures/*.json")]
    assert all(any(one in failure["message"] for one in messages) for failure in told)
    site.set("nap", 0)
    site.bench("retry", "--slurm", site.profile(cells_per_job=6))
    submitted = [json.loads(path.read_text()) for path in site.results.glob("submissions/*.json")]
    newest = max(submitted, key=lambda one: one["asked"])
    assert [array["minutes"] for array in newest["arrays"]] == [10]
    site.wait()
    site.require_same_as_local(*NAPS, cells=6)


def test_cells_that_save_nothing_before_their_limit_are_told_and_get_more_time(site):
    site.set("nap", 300)
    site.submit(*NAPS, cells_per_job=6, max_minutes=1)
    site.wait()
    # The warning may come before Python can hear it, on a busy machine.
    require_told_and_retried(site, "saved nothing", "reached its limit")


@pytest.mark.slow
def test_without_scontrol_on_the_nodes_the_cells_are_left_to_a_retry(site, tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    site.set("nap", 25)
    site.submit(*NAPS, cells_per_job=6, max_minutes=2, setup=[f"export PATH='{programs}'"])
    site.wait()
    require_told_and_retried(site, "no scontrol")


@pytest.mark.slow
def test_other_code_than_was_submitted_refuses_to_run(site, tmp_path, plugins):
    site.set("nap", 0)
    toy = plugins / "toy.py"
    text = toy.read_text()
    site.cluster.slurm("scontrol", "update", "PartitionName=debug", "State=DOWN")
    try:
        site.submit(*NAPS, cells_per_job=6)
        toy.write_text(text + "\n# changed\n")
        site.cluster.slurm("scontrol", "update", "PartitionName=debug", "State=UP")
        site.wait()
    finally:
        site.cluster.slurm("scontrol", "update", "PartitionName=debug", "State=UP")
        toy.write_text(text)
    assert site.status()["reasons"]["failed"] == {"StaleCode": 6}
    site.bench("retry", "--slurm", site.profile(cells_per_job=6))
    site.wait()
    site.require_same_as_local(*NAPS, cells=6)
