"""What is submitted again, with how much more of what it lacked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner
from image_folders import imagefolder, save
from slurm_queue import fail

from bench.budgets import Budget
from bench.cells import Plan
from bench.cli import cli
from bench.contract import METHODS
from bench.datasets import DATASETS, Source
from bench.errors import DataError, FolderError, StorageError, UsageError
from bench.execution import Outcome, execute
from slurm import limits, profiles, submissions
from slurm.accounting import keep_accounts, runs_of
from slurm.dispatch import prepare
from slurm.profiles import Profile
from slurm.requests import Ask, Taught
from slurm.retrying import lessons
from slurm.watch import status


def broken(dataset, source):
    raise DataError("an image cannot be read")


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

    def test_the_cells_are_computed_as_it_is_asked_for(self, monkeypatch, plan, results):
        asked = []

        def execute(*given, **named):
            asked.append(named)
            return Outcome()

        monkeypatch.setattr("bench.execution.execute", execute)
        results.save_plan(plan(seeds=2))
        command = ["retry", "--results", str(results.folder), "--threads", "2"]
        more = ["--gpus-per-cell", "2"]
        done = CliRunner().invoke(cli, [*command, *more], catch_exceptions=False)
        assert done.exit_code == 0
        assert asked == [{"threads": 2, "pack": 1, "gpus_per_cell": 2}]
        for wrong, told in (
            ([*more, "--pack", "2"], "do not go together"),
            (["--slurm", "cpu"], "--threads is for runs here; with --slurm the profile's cpus"),
        ):
            done = CliRunner().invoke(cli, [*command, *wrong])
            assert told in str(done.exception or done.output)
            assert done.exit_code != 0

    @pytest.mark.usefixtures("fake_slurm")
    def test_without_slurm_the_cells_are_computed_here(self, plan, results):
        sweep = plan(seeds=2)
        results.save_plan(sweep)
        command = ["retry", "--results", str(results.folder)]
        told = CliRunner().invoke(cli, command, catch_exceptions=False)
        assert told.exit_code == 0
        assert "2 cells computed, 0 failed" in told.output
        assert status(results.folder).counts() == {"done": 2}

    def test_other_images_are_not_taken_for_those_of_the_plan(self, plan, results):
        asked = plan(seeds=1)
        results.save_plan(Plan(tuple(replace(one, fingerprint="others") for one in asked.cells)))
        done = CliRunner().invoke(cli, ["retry", "--results", str(results.folder)])
        assert "planned for other images than digits has: others, not" in str(done.exception)
        assert not list(results.records())

    def test_named_data_are_for_the_plans_whose_images_they_have(self, plan, results, tmp_path):
        digits, photos = plan(seeds=2), tmp_path / "photos"
        for split in ("train", "test"):
            for number, name in enumerate("aabb"):
                save(photos / split / name / f"{number}.png")
        dataset, source = imagefolder(photos)
        told = {"dataset": dataset, "fingerprint": dataset.fingerprint(source)}
        of_photos = Plan(tuple(
            replace(one, budget=Budget.parse("50"), **told) for one in plan(seeds=1).cells
        ))  # fmt: skip
        for one in (digits, of_photos):
            results.save_plan(one)
        command = ["retry", "--results", str(results.folder)]
        command += ["--data", str(photos)]
        done = CliRunner().invoke(cli, command, catch_exceptions=False)
        assert done.exit_code == 0
        assert f"plan {digits.id} (digits, 2 cells to compute) is left" in done.output
        assert "1 cells computed, 0 failed" in done.output
        assert [record["id"] for record in results.records()] == [of_photos.cells[0].id]

        done = CliRunner().invoke(cli, command)  # nothing is left that these data are for
        assert isinstance(done.exception, DataError)

        results.save_plan(Plan(tuple(replace(one, training_seed=7) for one in of_photos.cells)))
        done = CliRunner().invoke(cli, [*command, "--device", "abacus"])
        assert "abacus" in str(done.exception)  # and not that the digits are others

    def test_a_plan_that_cannot_be_computed_is_told_and_the_others_go_on(self, plan, results):
        cifar = DATASETS.make_one("cifar10")
        digits, absent, needing = plan(seeds=2), plan(seeds=1), plan("adq", seeds=1)
        absent = Plan(tuple(
            replace(one, dataset=cifar, fingerprint=cifar.archive) for one in absent.cells
        ))  # fmt: skip
        needing = Plan(tuple(
            replace(one, method=METHODS.make_one("indices[file=gone.npy,sha256=0123456789ab]"))
            for one in needing.cells
        ))  # fmt: skip
        for one in (absent, needing):
            results.save_plan(one)
        command = ["retry", "--results", str(results.folder)]
        assert isinstance(CliRunner().invoke(cli, command).exception, UsageError)  # none can go on
        results.save_plan(digits)
        done = CliRunner().invoke(cli, command, catch_exceptions=False)
        assert done.exit_code == 1
        assert f"plan {absent.id} (cifar10, 1 cells to compute) is left: cifar10 is" in done.output
        assert f"plan {needing.id} (digits, 1 cells to compute) is left: " in done.output
        assert "2 cells computed, 0 failed" in done.output
        assert {record["id"] for record in results.records()} == {one.id for one in digits.cells}

    @pytest.mark.usefixtures("own_methods")
    def test_where_no_plan_can_be_read_the_reasons_are_told_and_no_other(self, plan, results):
        command = ["retry", "--results", str(results.folder)]
        assert "has no plan. Run a sweep" in str(CliRunner().invoke(cli, command).exception)
        asked = plan("dq", seeds=1)
        results.save_plan(asked)
        del METHODS._classes["dq"]  # as where the package of a plugin is not installed any more
        done = CliRunner().invoke(cli, command)
        assert f"{asked.id}.json is left out: unknown method 'dq'" in done.output
        assert isinstance(done.exception, UsageError)
        assert str(done.exception).startswith(f"no plan of {results.folder} can be read")

    def test_a_plan_whose_images_turn_out_to_be_broken_stops_no_other(
        self, plan, results, monkeypatch
    ):
        digits = DATASETS.make_one("digits")
        results.save_plan(plan(seeds=2))
        monkeypatch.setattr(type(digits), "load", broken)
        done = CliRunner().invoke(cli, ["retry", "--results", str(results.folder)])
        assert done.exit_code == 2  # nothing was computed
        assert "2 cells to compute) is left: an image cannot be read" in done.output

    def test_a_folder_that_cannot_be_written_is_refused_before_anything_begins(
        self, plan, results, monkeypatch
    ):
        def read_only(folder):
            raise StorageError(f"cannot write {folder}: Read-only file system")

        results.save_plan(plan(seeds=1))
        command = ["retry", "--results", str(results.folder)]
        with monkeypatch.context() as patch:
            patch.setattr("bench.results.require_writable", read_only)
            assert isinstance(CliRunner().invoke(cli, command).exception, FolderError)
        assert CliRunner().invoke(cli, command).exit_code == 0
        monkeypatch.setattr("bench.results.require_writable", read_only)
        assert CliRunner().invoke(cli, command).exit_code == 0  # nothing has to be written now
