"""Time limits of jobs, and code that changed before they ran."""

from __future__ import annotations

import json

import pytest
from cluster_daemons import wait_for

pytestmark = pytest.mark.cluster
NAPS = (
    "--methods", "nap", "--no-baselines", "--ratios", "10,20", "--seeds", "3",
    "--protocol", "smoke[epochs=1]",
)  # fmt: skip


def test_a_job_at_its_limit_goes_on_where_it_was(site):
    site.set("nap", 2)
    site.submit(*NAPS, cells_per_job=6, max_minutes=2)
    wait_for(site.records)
    site.set("nap", 3600)
    wait_for(lambda: len(site.runs()) > 1)
    site.set("nap", 0)
    site.wait()
    site.require_same_as_local(cells=6)


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
    site.require_same_as_local(cells=6)


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
    site.require_same_as_local(cells=6)
