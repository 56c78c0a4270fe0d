"""Files of jobs that are gone."""

from __future__ import annotations

from slurm_queue import ended, in_queue

from bench.datasets import Source
from bench.execution import execute
from slurm import submissions
from slurm.cleaning import clean


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
