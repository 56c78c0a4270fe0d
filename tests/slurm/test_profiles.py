from __future__ import annotations

import pytest

from bench.errors import UsageError
from slurm import profiles
from slurm.profiles import Profile


def test_the_built_in_profiles_can_be_read():
    assert profiles.read("cpu").gpus == 0
    assert profiles.read("gpu").gpus == 1


def test_a_user_s_profile_comes_before_a_built_in_one(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".config" / "bench" / "profiles"
    folder.mkdir(parents=True)
    (folder / "cpu.toml").write_text('partition = "mine"\nsetup = ["module load cuda"]\n')
    profile = profiles.read("cpu")
    assert (profile.partition, profile.setup) == ("mine", ("module load cuda",))


def test_a_file_is_read_by_its_path_with_any_option_of_sbatch(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('gres = "gpu:a100:2,tmp:5"\n[extra]\nmail-type = "END"\nexclusive = true\n')
    profile = profiles.read(str(path))
    assert profile.gpus == 2
    assert dict(profile.extra) == {"mail-type": "END", "exclusive": True}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('partitoin = "x"', "Did you mean 'partition'"),
        ("cpus = 0", "Give a whole number of at least 1"),
        ("cpus = true", "Give a whole number"),
        ("cpus = 2.5", "Give a whole number"),
        ("margin = 0.5", "Give a number of at least 1"),
        ("partition = 3", "Give a text"),
        ('partition = "a\\nb"', "Give a text on one line"),
        ('setup = "module load"', "Give a list of texts"),
        ("offline = 1", "Give true or false"),
        ('extra = "x"', "Give a table"),
        ('gres = "gpu:1"\ngpus_per_node = 1', "Keep one"),
        ("= 3", "not valid TOML"),
        ('[extra]\njob_name = "x"', "jobs are known by it"),
        ("[extra]\ntime = 3", "Give the key max_minutes"),
        ('[extra]\ndependency = "afterok:1?afterok:2"', "Separate with commas"),
    ],
)
def test_a_wrong_profile_is_refused(tmp_path, text, told):
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        profiles.read(str(path))


def test_an_unknown_name_is_told_with_those_that_there_are():
    with pytest.raises(UsageError, match="Did you mean 'gpu'"):
        profiles.read("gppu")
    with pytest.raises(UsageError, match="cannot read profile"):
        profiles.read("nowhere/p.toml")


@pytest.mark.parametrize(
    ("gres", "count"), [("gpu", 1), ("gpu:3", 3), ("gpu:v100:2", 2), ("tmp:9", 0)]
)
def test_gpus_are_counted_however_they_are_asked_for(gres, count):
    assert Profile(gres=gres).gpus == count


def test_jobs_that_make_artefacts_may_be_asked_for_otherwise(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(
        'partition = "gpu"\ngres = "gpu:a100:1"\ncpus = 8\n'
        '[artefacts]\npartition = "cpu"\ngpus_per_node = 0\n'
    )
    profile = profiles.read(str(path))
    assert (profile.partition, profile.gpus, profile.of("cells")) == ("gpu", 1, profile)
    making = profile.of("artefacts")
    assert (making.partition, making.gpus, making.cpus) == ("cpu", 0, 8)
    path.write_text("[artefacts]\nsetup = 1\n")
    with pytest.raises(UsageError, match="setup = 1 is not allowed"):
        profiles.read(str(path))
    path.write_text("artefacts = 1\n")
    with pytest.raises(UsageError, match="artefacts = 1 is not allowed"):
        profiles.read(str(path))
    path.write_text("[artefacts.artefacts]\n")
    with pytest.raises(UsageError, match="artefacts"):
        profiles.read(str(path))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gpus_per_node = 2\ngpus_per_cell = 2\npack = 2\n", "do not go together"),
        ("gpus_per_node = 2\ngpus_per_cell = 4\n", "a job has 2"),
    ],
)
def test_gpus_of_a_cell_are_gpus_of_its_job(tmp_path, text, told):
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        profiles.read(str(path))
