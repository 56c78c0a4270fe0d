"""Whole sweeps on a real cluster; each equals a local run of the same plan."""

from __future__ import annotations

import signal
import time

import pytest

pytestmark = pytest.mark.cluster
BRIEF = ("--no-baselines", "--seeds", "2", "--protocol", "smoke[epochs=2]")
RANDOM = ("--methods", "random", "--ratios", "10,20", *BRIEF)
SHARED = ("--methods", "shared-nap", "--ratios", "10,20", *BRIEF)


def test_a_profile_is_checked_against_the_cluster(site):
    assert "--" not in site.bench("doctor", "--slurm", site.profile())
    told = site.start("doctor", "--slurm", site.profile(gpus_per_node=3)).communicate(timeout=60)[0]
    assert "no node has 1 CPUs, 0.5 GB, 3 GPUs; node" in told


def test_a_sweep_on_both_nodes_equals_a_local_run(site):
    sweep = ("--methods", "random,shared-nap", "--ratios", "10,20", *BRIEF)
    told = site.submit(*sweep, cells_per_job=2)
    assert "8 of 8 cells submitted as" in told
    site.wait()
    site.require_same_as_local(cells=8)
    slurm = [record["provenance"]["slurm"] for record in site.records().values()]
    assert {one["SLURMD_NODENAME"] for one in slurm} == {"node1", "node2"}
    left = [path for path in site.results.glob("slurm/*/*") if "submission" not in path.name]
    assert left == []
    assert "Nothing to submit" in site.submit(*sweep)
    costs = site.status("--costs")
    assert costs["gpu_s"] == sum(account["allocated_s"] for account in costs["accounts"]) > 0


def test_a_folder_with_spaces_quotes_and_a_semicolon_is_only_a_name(site):
    name = 'it\'s; touch "bad" $HOME `id`'
    site.bench("run", *RANDOM, "--results", name, *site.on_cluster, site.profile(cells_per_job=4))
    site.wait()
    assert len(site.records(name)) == 4
    assert not list(site.folder.rglob("bad"))
    writable = [path for path in (site.folder / name).rglob("*") if path.stat().st_mode & 0o002]
    assert writable == []
    told = site.bench("run", *RANDOM, "--results", "50%", *site.on_cluster, site.profile(), code=2)
    assert "Slurm does not take" in told


def test_the_launcher_may_be_killed_right_after_the_submission(site):
    launcher = site.start("run", *RANDOM, *site.on_cluster, site.profile(cells_per_job=2))
    while not site.cluster.jobs() and launcher.poll() is None:
        time.sleep(0.02)
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    again = site.submit(*RANDOM, cells_per_job=2)
    site.wait()
    if site.status()["cells"] != {"done": 4}:  # killed before the job's pickles were in place
        site.submit(*RANDOM, cells_per_job=2)
        site.wait()
    assert "cells submitted" in again or "Nothing to submit" in again
    site.require_same_as_local(cells=4)


@pytest.mark.slow
def test_a_cell_may_train_on_all_gpus_of_its_job(site):
    sweep = (*RANDOM, "--seeds", "1")
    site.submit(*sweep, gpus_per_node=2, gpus_per_cell=2)
    site.wait()
    assert site.status()["cells"] == {"done": 2}, site.logs()
    shares = [record["allocation"] for record in site.records().values()]
    assert {(share["gpus"], share["training_devices"]) for share in shares} == {(2, 2)}
    site.here.bench("run", *sweep, "--gpus-per-cell", "2", "--results", "together")
    assert site.outcomes() == site.here.outcomes("together")


@pytest.mark.slow
def test_submitting_twice_at_once_computes_nothing_twice(site):
    site.set("nap", 3)
    sweep = ("--methods", "nap", "--ratios", "10,20", *BRIEF)
    first = site.submit(*sweep, cells_per_job=2)
    second = site.submit(*sweep, cells_per_job=2)
    assert "4 of 4 cells" in first
    assert "Nothing to submit" in second
    site.wait()
    site.require_same_as_local(cells=4)


@pytest.mark.slow
def test_cancelled_cells_are_told_and_submitted_again(site):
    site.set("nap", 60)
    sweep = ("--methods", "nap", "--ratios", "10,20", *BRIEF)
    site.submit(*sweep, cells_per_job=2)
    site.bench("cancel")
    site.wait()
    assert site.status()["cells"] == {"lost": 4}
    site.set("nap", 0)
    site.bench("retry", "--slurm", site.profile(cells_per_job=4))
    site.wait()
    site.require_same_as_local(cells=4)


def test_an_artefact_that_fails_blocks_its_cells_and_a_retry_frees_them(site):
    site.set("broken")
    told = site.submit(*SHARED, cells_per_job=4)
    assert "artefacts of 4 cells" in told
    site.wait()
    status = site.status()
    assert status["cells"] == {"blocked": 4}
    assert status["reasons"]["blocked"] == {"RuntimeError": 4}
    (site.folder / "broken").unlink()
    site.bench("retry", "--slurm", site.profile(cells_per_job=4))
    site.wait()
    site.require_same_as_local(cells=4)
    assert site.noted("naps") == ["shared"]


def test_a_cluster_without_accounting_works_quietly(site_without_accounting):
    site = site_without_accounting
    site.submit(*RANDOM, cells_per_job=2)
    site.wait()
    told = site.bench("status", "--costs")
    assert "4 done" in told
    assert "keeps no accounts" in told
    site.require_same_as_local(cells=4)
