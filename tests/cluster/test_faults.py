"""What goes wrong on clusters: preemption, time limits, dead nodes, controllers and workers."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from cluster_daemons import wait_for

pytestmark = pytest.mark.cluster
CELLS = (
    "--methods", "random", "--no-baselines", "--ratios", "10", "--seeds", "2",
    "--protocol", "smoke[epochs=6,test_every=3]",
)  # fmt: skip
NAPS = (
    "--methods", "nap", "--no-baselines", "--ratios", "10,20", "--seeds", "3",
    "--protocol", "smoke[epochs=1]",
)  # fmt: skip
SHARED = ("--methods", "shared-nap", *NAPS[2:])


def submit_long(site, **profile):
    """Submit cells that stay where they are after the first epoch, until they are to go on."""
    site.set("pace", 3600)
    site.submit(*CELLS, cells_per_job=1, **profile)
    return wait_for(lambda: in_a_cell(site))


def go_on(site):
    site.set("pace", 0)


def in_a_cell(site):
    """The cells that are in the middle of their training, with the processes that train them."""
    started = {path.parent.name for path in site.results.glob("checkpoints/cell-*/newest.json")}
    return {cell: process for cell, process in site.workers().items() if cell in started}


def parent_of(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize(
    "parameters",
    ["", pytest.param("SlurmctldParameters=preempt_send_user_signal", marks=pytest.mark.slow)],
)
def test_a_preempted_cell_goes_on_from_its_checkpoint(site, parameters):
    site.cluster.configure(parameters)
    submit_long(site)
    site.cluster.slurm(
        "sbatch", "-p", "high", "-N2", "--exclusive", "--output=/dev/null", "--wrap=sleep 3"
    )
    wait_for(lambda: "PENDING" in site.cluster.jobs())
    go_on(site)
    site.wait()
    assert len(site.runs()) > 2
    assert parameters or "PREEMPTED" in site.runs()
    site.require_same_as_local(cells=2)


def test_a_worker_killed_in_a_cell_leaves_it_to_a_retry(site):
    cell, process = submit_long(site).popitem()
    os.kill(process, signal.SIGKILL)
    go_on(site)
    site.wait()
    status = site.status()
    assert status["cells"] == {"done": 1, "lost": 1}
    assert (site.results / "checkpoints" / cell / "newest.json").exists()
    site.bench("retry", "--slurm", site.profile(cells_per_job=1))
    site.wait()
    site.require_same_as_local(cells=2)


def test_a_worker_killed_in_an_artefact_is_replaced_by_the_cells(site):
    site.set("nap", 600)
    site.submit(*SHARED, cells_per_job=3)
    process = wait_for(lambda: site.workers("order")).popitem()[1]
    os.kill(process, signal.SIGKILL)
    site.set("nap", 1)
    site.wait()
    assert site.noted("naps").count("shared") == 1
    site.require_same_as_local(cells=6)


def test_a_node_that_dies_has_its_cells_run_elsewhere(site):
    process = submit_long(site).popitem()[1]
    node = site.node_of(process)
    site.cluster.kill(f"slurmd {node}")
    for one in [one for one in site.workers().values() if site.node_of(one) == node]:
        # Slurm's own process beside the job first: it would tell the controller of the job's end.
        os.kill(parent_of(one), signal.SIGKILL)
        os.kill(one, signal.SIGKILL)
    go_on(site)
    site.wait()
    assert "NODE_FAIL" in site.runs()
    site.require_same_as_local(cells=2)


@pytest.mark.slow
def test_a_daemon_that_dies_alone_has_no_cell_computed_twice(site):
    process = submit_long(site).popitem()[1]
    site.cluster.kill(f"slurmd {site.node_of(process)}")
    wait_for(lambda: "NODE_FAIL" in site.runs())
    site.set("pace", 5)  # its jobs live on, and Slurm runs them elsewhere too
    site.wait()
    site.require_same_as_local(cells=2)


def test_a_restarted_controller_changes_nothing(site):
    submit_long(site)
    site.cluster.kill("slurmctld", signal.SIGTERM)
    told = site.bench("status")
    assert "Slurm does not tell of jobs" in told
    refused = site.bench("run", *CELLS, *site.on_cluster, site.profile(), code=2)
    assert "squeue" in refused
    site.cluster.start_controller()
    go_on(site)
    site.wait()
    site.require_same_as_local(cells=2)
