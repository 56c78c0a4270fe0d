"""The state of every cell, and how it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from slurm_queue import ended, fail, in_queue

from bench.cli import cli
from bench.datasets import Source
from bench.execution import execute
from bench.storage import write_json
from slurm import submissions
from slurm.profiles import Profile
from slurm.sacct import Accounted
from slurm.sweeps import submit_once
from slurm.watch import status


def test_each_state_is_told_with_its_reason(submitted, plan, results, fake_slurm):
    sweep = plan(seeds=8)
    done, failed, blocked, running, *_ = sweep.cells
    submission = submitted(sweep)
    execute(type(sweep)((done,)), results, Source(), "cpu")
    fail(results, failed)
    fail(results, blocked, "OutOfMemory", "blocked")
    live = [("PENDING", "Priority")] * 3 + [("RUNNING", "None")] * 2 + [("PENDING", "Resources")]
    in_queue(fake_slurm, submission, *live)
    with results.leases.taken(running.id):
        seen = status(results.folder)
    assert seen.counts() == {
        "done": 1, "running": 1, "pending": 2, "failed": 1, "blocked": 1, "lost": 2,
    }  # fmt: skip
    assert seen.reasons() == {
        "running": {"node3": 1},
        "pending": {"in a running job": 1, "Resources": 1},
        "failed": {"ValueError": 1},
        "blocked": {"OutOfMemory": 1},
    }


def test_while_slurm_does_not_answer_no_cell_is_called_lost(submitted, plan, results, fake_slurm):
    submitted(plan(seeds=2))
    fake_slurm.fails("squeue", "Unable to contact slurm controller")
    assert status(results.folder).counts() == {"unknown": 2}


def test_a_failure_of_an_earlier_job_does_not_hide_the_new_one(
    submitted, plan, results, fake_slurm
):
    sweep = plan(seeds=1)
    fail(results, sweep.cells[0])
    in_queue(fake_slurm, submitted(sweep), ("PENDING", "Priority"))
    assert status(results.folder).counts() == {"pending": 1}
    fail(results, sweep.cells[0])
    assert status(results.folder).counts() == {"failed": 1}


@pytest.mark.usefixtures("fake_slurm")
def test_the_lease_of_a_killed_worker_hides_no_lost_cell(submitted, plan, results):
    sweep = plan(seeds=1)
    submitted(sweep)
    with results.leases.taken(sweep.cells[0].id):
        assert status(results.folder).counts() == {"running": 1}
        path = results.folder / "leases" / f"{sweep.cells[0].id}.lease"
        owner = json.loads(path.read_text())
        ended = subprocess.Popen(["true"])
        ended.wait()
        path.write_text(json.dumps(owner | {"process": ended.pid}))
        assert status(results.folder).counts() == {"lost": 1}
        path.write_text(json.dumps(owner | {"host": "elsewhere"}))
        assert status(results.folder).counts() == {"running": 1}
        os.utime(path, (0, 0))
        assert status(results.folder).counts() == {"lost": 1}


def test_without_submissions_the_plans_are_told(plan, results):
    results.save_plan(plan(seeds=3))
    assert status(results.folder).counts() == {"not submitted": 3}


def test_a_slurm_that_does_not_answer_is_told_and_no_error(submitted, plan, results, fake_slurm):
    submitted(plan(seeds=1))
    fake_slurm.fails("squeue", "Unable to contact slurm controller")
    seen = status(results.folder)
    assert "Unable to contact" in seen.queue_error


def test_lost_cells_are_told_with_what_accounting_says_of_their_job(submitted, plan, results):
    array = submitted(plan(seeds=2)).arrays[0]
    usual = {"seconds": 1, "gpus": 0, "cpus": 1, "asked_gpus": 0, "minutes": 1, "node": "n1"}
    ends = ["NODE_FAIL", "COMPLETED", "OUT_OF_MEMORY"]
    tasks = [0, 0, 1]
    runs = [
        Accounted(job=array.job, task=task, name=array.name, state=state, **usual)
        for task, state in zip(tasks, ends, strict=True)
    ]
    told = status(results.folder, runs).reasons()
    assert told == {"lost": {"COMPLETED": 1, "OUT_OF_MEMORY": 1}}


def test_what_is_left_is_told_from_what_is_done(submitted, plan, results, fake_slurm):
    sweep = plan(seeds=3)
    submission = submitted(sweep)
    array = submission.arrays[0]
    in_queue(fake_slurm, submission, ("RUNNING", "None"), ("PENDING", "Priority"))
    assert status(results.folder).left_s is None
    execute(
        type(sweep)(tuple(c for c in sweep.cells if c.id in array.tasks[2].cells)),
        results, Source(), "cpu",
    )  # fmt: skip
    run = Accounted(array.job, 2, array.name, "COMPLETED", 60, 2, 1, 2, 240, "n1")
    seen = status(results.folder, [run])
    assert (seen.left_s, seen.left_gpu_s) == (120, 240)


def test_work_in_progress_does_not_lengthen_what_is_left(submitted, plan, results, fake_slurm):
    sweep = plan(seeds=8)
    submission = submitted(sweep, Profile(cells_per_job=4))
    array = submission.arrays[0]
    in_queue(fake_slurm, submission, ("RUNNING", "None"), ("RUNNING", "None"))
    first, second = (task.cells for task in array.tasks)
    execute(
        type(sweep)(tuple(cell for cell in sweep.cells if cell.id == first[0])),
        results, Source(), "cpu",
    )  # fmt: skip
    runs = [
        Accounted(array.job, task, array.name, "RUNNING", 60, 0, 1, 0, 240, "n1")
        for task in range(2)
    ]
    with results.leases.taken(first[1]), results.leases.taken(second[0]):
        seen = status(results.folder, runs)
    assert seen.left_s == pytest.approx((5 + 2 * 0.5) * 60 / 1.5)


def test_a_record_that_a_network_shows_late_is_awaited_for_a_minute(
    submitted, plan, results, fake_slurm
):
    submission = submitted(plan(seeds=1))
    in_queue(fake_slurm, submission, ("COMPLETED", "None"), end=ended(30))
    seen = status(results.folder)
    assert seen.reasons() == {"pending": {"job ended, record awaited": 1}}
    assert seen.live == []
    assert submit_once(plan(seeds=1), results, Source(), Profile()) is None
    in_queue(fake_slurm, submission, ("COMPLETED", "None"), end=ended(90))
    assert status(results.folder).counts() == {"lost": 1}
    in_queue(fake_slurm, submission, ("FAILED", "None"), end=ended(30))
    assert status(results.folder).counts() == {"lost": 1}


def test_status_imports_nothing_that_takes_long(submitted, plan, results):
    submitted(plan(seeds=1))
    heavy = ("numpy", "torch", "pandas", "submitit")
    code = (
        "import sys; from bench.cli import cli\n"
        f"cli.main(['status', '--results', {str(results.folder)!r}], standalone_mode=False)\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("1 cells: 1 lost")
    assert told.stdout.endswith("[]\n")


def test_squeue_is_asked_once(submitted, plan, results, fake_slurm):
    submitted(plan(seeds=4))
    fake_slurm.write("squeue", f"#!/bin/sh\necho asked >> '{fake_slurm.folder}/asked'\n")
    status(results.folder)
    assert (fake_slurm.folder / "asked").read_text() == "asked\n"


def test_a_damaged_submission_harms_nothing(submitted, plan, results):
    submitted(plan(seeds=1))
    write_json(results.folder / "submissions" / "x.json", {"schema": 1})
    (results.folder / "submissions" / "y.json").write_text("{")
    assert len(submissions.read_all(results.folder)) == 1


def test_status_of_a_run_without_a_cluster_does_not_speak_of_jobs(plan, results):
    sweep = plan(seeds=3)
    results.save_plan(sweep)
    execute(type(sweep)(sweep.cells[:1]), results, Source(), "cpu")
    where = ["--results", str(results.folder)]
    told = CliRunner().invoke(cli, ["status", *where]).output
    assert told.splitlines() == [
        "3 cells: 1 done, 2 to compute",
        f"Go on: the same bench run, or bench retry {' '.join(where)}",
    ]
    with results.leases.taken(sweep.cells[1].id):
        told = CliRunner().invoke(cli, ["status", *where]).output
    assert told.splitlines()[0] == "3 cells: 1 done, 1 running, 1 to compute"
    assert told.splitlines()[1].startswith("  running: 1 ")
    assert len(told.splitlines()) == 2
    fail(results, sweep.cells[1])
    told = CliRunner().invoke(cli, ["status", *where]).output
    assert told.splitlines()[0] == "3 cells: 1 done, 1 failed, 1 to compute"
    assert told.splitlines()[-1].startswith("Once more: bench retry")


def test_status_in_words_and_cancel(submitted, plan, results, fake_slurm):
    submission = submitted(plan(seeds=2))
    in_queue(fake_slurm, submission, ("RUNNING", "None"), ("PENDING", "Priority"))
    fake_slurm.write("scancel", f"#!/bin/sh\necho \"$@\" > '{fake_slurm.folder}/cancelled'\n")
    runner = CliRunner()
    told = runner.invoke(cli, ["status", "--results", str(results.folder)]).output
    assert "2 cells: 2 pending" in told
    assert "1 in a running job, 1 Priority" in told
    told = runner.invoke(cli, ["cancel", "--results", str(results.folder)]).output
    assert "1 jobs cancelled (2 tasks)" in told
    assert (fake_slurm.folder / "cancelled").read_text() == f"{submission.jobs[0]}\n"
