from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from click.testing import CliRunner

from bench.cli import cli
from bench.datasets import Source
from bench.execution import execute
from bench.storage import write_json
from slurm import limits, profiles, submissions
from slurm.accounting import keep_accounts, runs_of, used_seconds
from slurm.cleaning import clean
from slurm.commands import seconds_of
from slurm.dispatch import prepare
from slurm.profiles import Profile
from slurm.requests import Ask, Taught
from slurm.retrying import lessons
from slurm.sacct import Accounted, accounts
from slurm.sweeps import submit_once
from slurm.watch import status


def fail(results, cell, cause="ValueError", phase="training"):
    results.write_failure(cell, {"phase": phase, "type": cause, "message": "m"})


def in_queue(fake_slurm, submission, *states, end="N/A"):
    array = submission.arrays[-1]
    lines = [
        f"{i}|{array.job}|{i}|{state}|node{i}|{reason}|1:00|{end}|{array.name}"
        for i, (state, reason) in enumerate(states)
    ]
    fake_slurm.says("squeue", "\n".join([*lines, "9|9|0|RUNNING|x|None|0:01|N/A|bench-of|others"]))


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


def ended(ago):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - ago))


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


class TestRetry:
    def learnt(self, sweep, results, **values):
        submitted = submissions.read_all(results.folder)
        return lessons([cell.id for cell in sweep.cells], results, submitted, **values)

    def test_more_memory_and_more_time_after_what_the_job_wrote_down(
        self, submitted, plan, results
    ):
        sweep = plan(seeds=3)
        submitted(sweep)
        fail(results, sweep.cells[0], "OutOfMemory")
        fail(results, sweep.cells[1], "TimeOut")
        taught = self.learnt(sweep, results).taught
        assert [taught[cell.id] for cell in sweep.cells] == [
            Taught(Ask(memory_gb=16.0)), Taught(Ask(minutes=480)), Taught(),
        ]  # fmt: skip

    def test_more_memory_and_more_time_after_what_slurm_knows(
        self, submitted, plan, results, fake_slurm
    ):
        sweep = plan(seeds=2)
        array = submitted(sweep).arrays[0]
        fake_slurm.says("sacct", "\n".join(
            f"{array.job}_{task}|{array.name}|{state}|60|cpu=2|cpu=2|240|n1"
            for task, state in enumerate(["OUT_OF_MEMORY", "TIMEOUT"])
        ))  # fmt: skip
        by_cell = {task.cells[0]: number for number, task in enumerate(array.tasks)}
        taught = self.learnt(sweep, results).taught
        told = {by_cell[cell]: one.cell for cell, one in taught.items()}
        assert told == {0: Ask(memory_gb=16.0), 1: Ask(minutes=480)}

    def test_an_array_that_only_its_jobs_names_tell_of_was_an_attempt(
        self, submitted, plan, results, fake_slurm
    ):
        sweep = plan(seeds=1)
        submission = submitted(sweep).with_jobs([])
        submission.save(results.folder)
        assert self.learnt(sweep, results).taught == {}
        assert status(results.folder).counts() == {"not submitted": 1}
        name = submission.arrays[0].name
        fake_slurm.says("sacct", f"101_0|{name}|OUT_OF_MEMORY|60|cpu=2|cpu=2|240|n1")
        learnt = self.learnt(sweep, results, most_attempts=1)
        assert list(learnt.taught.values()) == [Taught(Ask(memory_gb=16.0))]
        assert learnt.exhausted == {sweep.cells[0].id}
        told = status(results.folder, runs_of([submission])).reasons()
        assert told == {"lost": {"OUT_OF_MEMORY": 1}}

    def test_what_earlier_retries_asked_for_is_never_forgotten(
        self, submitted, plan, results, fake_slurm
    ):
        sweep = plan(seeds=1)
        (cell,) = sweep.cells
        submitted(sweep)
        fail(results, cell, "TimeOut")
        submitted(sweep, Profile(max_minutes=480))
        fail(results, cell, "OutOfMemory")
        (taught,) = self.learnt(sweep, results).taught.values()
        assert taught.cell == Ask(memory_gb=16.0, minutes=480)

    def test_a_process_that_slurm_killed_for_its_memory_gets_more(
        self, submitted, plan, results, fake_slurm
    ):
        sweep = plan(seeds=1)
        array = submitted(sweep).arrays[0]
        fail(results, sweep.cells[0], "Killed")
        fake_slurm.says("sacct", f"{array.job}_0|{array.name}|OUT_OF_MEMORY|60|cpu=2|cpu=2|240|n1")
        taught = self.learnt(sweep, results).taught
        assert list(taught.values()) == [Taught(Ask(memory_gb=16.0))]

    @pytest.mark.parametrize("is_told_by_slurm", [False, True])
    def test_what_an_artefact_s_job_had_too_little_of_only_that_one_gets_more_of(
        self, submitted, plan, results, fake_slurm, is_told_by_slurm
    ):
        profile = Profile(artefacts=Profile(memory_gb=2))
        sweep = plan("graphcut", seeds=1, budgets="10,20")
        making, computing = submitted(sweep, profile).arrays
        if is_told_by_slurm:
            ends = [(making, "OUT_OF_MEMORY"), (computing, "COMPLETED")]
            fake_slurm.says("sacct", "\n".join(
                f"{array.job}_0|{array.name}|{state}|60|cpu=2|cpu=2|240|n1" for array, state in ends
            ))  # fmt: skip
        else:
            for cell in sweep.cells:
                fail(results, cell, "OutOfMemory", "blocked")
        taught = self.learnt(sweep, results).taught
        assert set(taught.values()) == {Taught(making=Ask(memory_gb=4.0))}
        again = prepare(sweep, results, Source(), profile, taught=taught).arrays
        assert [(array.stage, array.memory_gb) for array in again] == [
            ("artefacts", 4.0), ("cells", 8.0),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("own", "partition", "memory"), [(10, "", 10), (0, "MaxMemPerNode=12288", 12), (0, "", 15)]
    )
    def test_memory_is_doubled_up_to_what_the_profile_or_the_cluster_gives(
        self, submitted, plan, results, fake_slurm, own, partition, memory
    ):
        fake_slurm.says("scontrol", f"PartitionName=a Default=YES {partition}\n")
        fake_slurm.says("sinfo", "n1|16|8000|(null)|idle|\nn2|16|15360|(null)|idle|\n")
        sweep = plan(seeds=1)
        submitted(sweep)
        fail(results, sweep.cells[0], "OutOfMemory")
        path = results.folder.parent / "p.toml"
        path.write_text(f"max_memory_gb = {own}\n")
        command = ["retry", "--slurm", str(path), "--results", str(results.folder)]
        told = CliRunner().invoke(cli, command, catch_exceptions=False).output
        assert f"should get 16 GB after they ran out of memory, and {memory} GB are all" in told
        assert submissions.read_all(results.folder)[-1].arrays[0].memory_gb == memory

    def test_memory_is_doubled_up_to_that_of_the_nodes_that_a_profile_can_use(
        self, submitted, plan, results, fake_slurm
    ):
        fake_slurm.write("scontrol", (
            '#!/bin/sh\ncase "$2" in hostnames) echo n3;; '
            "partition) echo PartitionName=a Default=YES;; esac\n"
        ))  # fmt: skip
        fake_slurm.says("sinfo", "\n".join([
            "n1|8|12288|gpu:2|idle|a100", "n2|64|102400|(null)|idle|a100",
            "n3|8|102400|gpu:2|idle|a100", "n4|8|102400|gpu:2|idle|v100",
            "n5|1|102400|gpu:2|idle|a100", "n6|8|10240|(null)|idle|small",
        ]))  # fmt: skip
        sweep = plan("graphcut", seeds=1, budgets="10,20")
        path = results.folder.parent / "p.toml"
        path.write_text(
            'gpus_per_node = 1\ncpus = 2\nconstraint = "a100"\nexclude = "n3"\n'
            '[artefacts]\ngpus_per_node = 0\nconstraint = "small"\nmemory_gb = 4\n'
        )
        asked = profiles.read(str(path))
        assert limits.most_memory_gb(asked) == 12
        assert limits.most_memory_gb(asked.of("artefacts")) == 10
        for memory in (4, 8):
            submitted(sweep, replace(asked, artefacts=replace(asked.artefacts, memory_gb=memory)))
            for cell in sweep.cells:
                fail(results, cell, "OutOfMemory", "blocked")
        command = ["retry", "--slurm", str(path), "--results", str(results.folder)]
        told = CliRunner().invoke(cli, command, catch_exceptions=False).output
        assert "some artefacts' jobs should get 16 GB" in told
        assert "and 10 GB are all" in told
        assert "some cells should" not in told

    def test_what_was_cancelled_was_no_attempt(self, submitted, plan, results, fake_slurm):
        sweep = plan(seeds=1)
        lines = []
        for _ in range(4):
            array = submitted(sweep).arrays[0]
            lines.append(f"{array.job}_0|{array.name}|CANCELLED by 0|0|cpu=2|cpu=2|240|n1")
            fake_slurm.says("sacct", "\n".join(lines))
        assert self.learnt(sweep, results).exhausted == frozenset()

    def test_what_was_cancelled_before_it_began_is_told_and_was_no_attempt(
        self, submitted, plan, results, fake_slurm
    ):
        sweep = plan(seeds=4)
        lines = []
        for _ in range(3):
            array = submitted(sweep).arrays[0]
            lines += [
                f"{array.job}_[1-2,3%4]|{array.name}|CANCELLED by 0|0||cpu=2|240|None assigned",
                f"{array.job}_0|{array.name}|FAILED|9|cpu=2|cpu=2|240|n1",
            ]
            fake_slurm.says("sacct", "\n".join(lines))
        learnt = self.learnt(sweep, results)
        assert learnt.exhausted == set(array.tasks[0].cells)
        runs = runs_of(submissions.read_all(results.folder))
        reasons = status(results.folder, runs).reasons()
        assert reasons == {"lost": {"CANCELLED": 3, "FAILED": 1}}
        accounts = keep_accounts(results, submissions.read_all(results.folder), runs)
        assert [account.asked_s for account in accounts] == [240 * 60] * 3

    def test_a_cell_has_three_attempts(self, submitted, plan, results):
        sweep = plan(seeds=2)
        for count in range(1, 4):
            submitted(sweep)
            exhausted = self.learnt(sweep, results).exhausted
            assert len(exhausted) == (2 if count == 3 else 0)
        assert self.learnt(sweep, results, most_attempts=4).exhausted == frozenset()

    def test_the_command_submits_what_is_missing_or_failed_with_more_memory(
        self, submitted, plan, results, fake_slurm
    ):
        sweep = plan(seeds=3)
        submitted(sweep)
        execute(type(sweep)(sweep.cells[:1]), results, Source(), "cpu")
        fail(results, sweep.cells[1], "OutOfMemory")
        command = ["retry", "--slurm", "cpu", "--results", str(results.folder)]
        told = CliRunner().invoke(cli, command, catch_exceptions=False).output
        assert "2 of 3 cells submitted" in told
        newest = submissions.read_all(results.folder)[-1]
        assert sorted(array.memory_gb for array in newest.arrays) == [8, 16]

        execute(sweep, results, Source(), "cpu")
        told = CliRunner().invoke(cli, command, catch_exceptions=False).output
        assert "Nothing to submit: all 3 cells" in told

    def test_more_time_than_the_profile_allows_is_told(self, submitted, plan, results):
        sweep = plan(seeds=1)
        submitted(sweep)
        fail(results, sweep.cells[0], "TimeOut")
        command = ["retry", "--slurm", "cpu", "--results", str(results.folder)]
        told = CliRunner().invoke(cli, command, catch_exceptions=False).output
        assert "should get 480 minutes" in told
        assert "max_minutes = 240" in told

    @pytest.mark.usefixtures("fake_slurm")
    def test_without_slurm_the_cells_are_computed_here(self, plan, results):
        sweep = plan(seeds=2)
        results.save_plan(sweep)
        command = ["retry", "--results", str(results.folder)]
        told = CliRunner().invoke(cli, command, catch_exceptions=False)
        assert told.exit_code == 0
        assert "2 cells computed, 0 failed" in told.output
        assert status(results.folder).counts() == {"done": 2}


class TestClean:
    def test_files_of_complete_tasks_go_and_those_of_others_stay(
        self, submitted, plan, results, fake_slurm
    ):
        sweep = plan(seeds=3)
        submission = submitted(sweep)
        logs = submissions.logs_of(results.folder, submission.id)
        array = submission.arrays[0]
        for number in range(3):
            (logs / f"{array.job}_{number}_0_log.out").write_text("told")
        done = [cell for cell in sweep.cells if cell.id in array.tasks[1].cells]
        execute(type(sweep)(tuple(done)), results, Source(), "cpu")
        assert clean(results.folder) == 4
        assert sorted(path.name for path in logs.glob("*.out")) == [
            f"{array.job}_{number}_0_log.out" for number in (0, 2)
        ]
        execute(sweep, results, Source(), "cpu")
        in_queue(fake_slurm, submission, ("COMPLETING", "None"))
        assert clean(results.folder) == 0
        submission.with_jobs([]).save(results.folder)
        assert clean(results.folder) == 0
        submission.save(results.folder)
        in_queue(fake_slurm, submission, ("COMPLETED", "None"), end=ended(1))
        assert clean(results.folder) == 3
        assert not logs.exists()


class TestAccounting:
    def record(self, number, job, seconds, artefacts, devices=1):
        cost = {"training_s": seconds, "testing_s": 1.0, "artefacts": artefacts}
        slurm = {"SLURM_ARRAY_JOB_ID": job}
        told = {"finished": str(number), "slurm": slurm}
        return {"provenance": told, "cost": cost, "allocation": {"training_devices": devices}}

    def test_all_runs_of_a_job_are_allocated_and_artefacts_used_once(
        self, submitted, plan, results, fake_slurm, monkeypatch
    ):
        array = submitted(plan(seeds=2)).arrays[0]
        runs = [("0", "PREEMPTED", 30), ("0", "COMPLETED", 50), ("1", "COMPLETED", 20)]
        tres = "billing=2,cpu=2,gres/gpu=2,mem=1G"
        fake_slurm.says("sacct", "\n".join(
            f"{array.job}_{task}|{array.name}|{state}|{seconds}|{tres}|{tres}|240|n1"
            for task, state, seconds in runs
        ))  # fmt: skip
        maker = {"slurm": {"SLURM_ARRAY_JOB_ID": array.job, "SLURM_JOB_ID": "7"}}
        bins = {"bins-1": {"seconds": 5.0, **maker}, "found-2": {"seconds": 9.0}}
        records = [self.record(n, array.job, 10.0, bins, devices=2) for n in range(2)]
        monkeypatch.setattr(results, "records", lambda: iter(records))
        submitted = submissions.read_all(results.folder)
        (account,) = keep_accounts(results, submitted, runs_of(submitted))
        assert account.allocated_s == 2 * (30 + 50 + 20)
        assert account.used_s == 2 * 2 * 11.0 + 5.0
        assert account.asked_s == 2 * 2 * 240 * 60
        assert account.wasted_s == account.allocated_s - account.used_s
        kept = json.loads((results.folder / "accounting" / f"{array.job}.json").read_text())
        assert kept["allocated_s"] == account.allocated_s

    def test_an_artefact_is_used_time_of_the_job_that_made_it(self):
        maker = {"slurm": {"SLURM_ARRAY_JOB_ID": "7"}}
        bins = {"bins-1": {"seconds": 5.0, **maker}}
        records = [self.record(n, "8", 10.0, bins) for n in range(2)]
        assert used_seconds(records) == {"7": 5.0, "8": 22.0}

    def test_time_that_other_jobs_spent_before_an_interruption_is_none_of_this_one_s(self):
        bins = {"seconds": 5.0, "before_s": 2.0, "slurm": {"SLURM_ARRAY_JOB_ID": "7"}}
        record = self.record(0, "8", 10.0, {"bins-1": bins})
        record["cost"]["before_s"] = 4.0
        assert used_seconds([record]) == {"7": 3.0, "8": 7.0}
        bins["elsewhere_s"], record["cost"]["elsewhere_s"] = 0.0, 3.0
        assert used_seconds([record]) == {"7": 5.0, "8": 8.0}

    def test_gpus_that_the_cluster_does_not_count_are_those_that_were_asked_for(
        self, submitted, plan, fake_slurm
    ):
        submission = submitted(plan(seeds=1), Profile(gpus_per_node=2, gpus_per_cell=2))
        (array,) = submission.arrays
        fake_slurm.write(
            "sacct",
            f"#!/bin/sh\necho \"$@\" > '{fake_slurm.folder}/asked'\n"
            f"echo '{array.job}_0|{array.name}|COMPLETED|50|cpu=2,mem=1G|cpu=2|240|n1'\n",
        )
        (run,) = runs_of([submission])
        assert (run.gpus, run.asked_gpus) == (2, 2)
        day = time.strftime("%Y-%m-%d", time.localtime(submission.asked - 86400))
        asked = (fake_slurm.folder / "asked").read_text()
        assert f"--starttime={day} --jobs={array.job}" in asked

    def test_an_array_whose_number_was_not_written_down_is_accounted_for_by_its_name(
        self, submitted, plan, results, fake_slurm
    ):
        submission = submitted(plan(seeds=1)).with_jobs([])
        (array,) = submission.arrays
        fake_slurm.write(
            "sacct",
            f"#!/bin/sh\necho \"$@\" > '{fake_slurm.folder}/asked'\n"
            f"echo '101_0|{array.name}|COMPLETED|50|cpu=2,mem=1G|cpu=2|240|n1'\n",
        )
        (account,) = keep_accounts(results, [submission], runs_of([submission]))
        assert (account.job, account.allocated_s, account.asked_s) == ("101", 50, 240 * 60)
        assert (fake_slurm.folder / "asked").read_text().endswith(f"--name={array.name}\n")

    @pytest.mark.parametrize(
        ("told", "tasks"),
        [
            ("", [0]), ("_3", [3]), ("_[0-2,7%4]", [0, 1, 2, 7]), ("_[1-5:2]", [1, 3, 5]),
            ("_[1,3,9,1...]", [1, 3, 9]), ("_[1,7-1...]", [1]), ("_[1,3-...]", [1]),
        ],
    )  # fmt: skip
    def test_lists_of_tasks_are_read_as_far_as_they_go_and_asked_for_in_full(
        self, fake_slurm, told, tasks
    ):
        fake_slurm.write(
            "sacct",
            '#!/bin/sh\n[ "$SLURM_BITSTR_LEN" = 0 ] || exit 1\n'
            f"echo '101{told}|bench-x-0|CANCELLED by 0|0||cpu=2|240|None assigned'\n",
        )
        assert [run.task for run in accounts(["101"], [], 0.0)] == tasks

    @pytest.mark.usefixtures("fake_slurm")
    def test_a_cluster_without_accounts_is_no_error(self, submitted, plan):
        assert runs_of([submitted(plan(seeds=1))]) is None


def test_accounts_that_do_not_answer_are_told_by_status(submitted, plan, results, fake_slurm):
    submitted(plan(seeds=1))
    fake_slurm.fails("sacct", "sacct: unrecognized option")
    told = CliRunner().invoke(cli, ["status", "--results", str(results.folder)])
    assert told.exit_code == 0
    assert "accounting does not answer: sacct: sacct: unrecognized option" in told.output


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("0:01", 1), ("1:02:03", 3723), ("2-00:00:01", 172801), ("INVALID", 0), ("10:00", 600)],
)
def test_slurm_s_clock_is_read(told, seconds):
    assert seconds_of(told) == seconds


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
