"""What Slurm's accounting tells of jobs, and what it keeps to itself."""

from __future__ import annotations

import json
import time

import pytest
from click.testing import CliRunner

from bench.cli import cli
from slurm import submissions
from slurm.accounting import keep_accounts, runs_of, used_seconds
from slurm.commands import seconds_of
from slurm.profiles import Profile
from slurm.sacct import accounts


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
    assert "accounting does not answer: sacct: unrecognized option" in told.output


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("0:01", 1), ("1:02:03", 3723), ("2-00:00:01", 172801), ("INVALID", 0), ("10:00", 600)],
)
def test_slurm_s_clock_is_read(told, seconds):
    assert seconds_of(told) == seconds
