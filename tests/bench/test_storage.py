"""Files are whole or not there, whatever happens to their writer."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BenchError, DamagedFileError, StorageError
from bench.storage import (
    file_checksum,
    read_json,
    replacing,
    require_writable,
    set_aside,
    write_json,
    write_text,
)

CONTENT = st.dictionaries(
    st.text().filter(lambda key: key != "checksum"),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("storage")


@pytest.fixture
def mounted(tmp_path):
    """Return a function that mounts a small file system of its own and returns its folder."""
    folders = []

    def mount(options):
        folder = tmp_path / f"disk{len(folders)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("only root may mount a small disk")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# JSON with a checksum


@settings(max_examples=50)
@given(content=CONTENT)
def test_what_is_written_is_read(folder, content):
    write_json(folder / "a.json", content)
    assert read_json(folder / "a.json") == content


def test_keys_that_are_numbers_are_read_as_texts_and_not_as_damage(tmp_path):
    write_json(tmp_path / "a.json", {"curve": {9: 0.5, 10: 0.6}})
    assert read_json(tmp_path / "a.json") == {"curve": {"9": 0.5, "10": 0.6}}


@settings(max_examples=80)
@given(position=st.integers(0, 200), flipped=st.integers(1, 255))
def test_one_wrong_byte_anywhere_is_found_or_changes_nothing(folder, position, flipped):
    content = {"accuracy": 91.25, "cell": {"seed": 1, "method": "dq"}, "done": True}
    path = folder / "flipped.json"
    write_json(path, content)
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= flipped
    path.write_bytes(data)
    with contextlib.suppress(DamagedFileError):
        assert read_json(path) == content


@settings(max_examples=30)
@given(share=st.floats(0, 0.99))
def test_a_file_that_was_cut_short_is_found(folder, share):
    path = folder / "cut.json"
    write_json(path, {"accuracy": 91.25, "curve": [1.0, 2.0, 3.0]})
    data = path.read_bytes()
    path.write_bytes(data[: int(share * (len(data) - 2))])
    with pytest.raises(DamagedFileError, match=r"cut\.json is damaged"):
        read_json(path)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "3", "null", '"text"', '{"a": 1}', "\x00" * 100])
def test_a_file_of_something_else_is_damaged(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DamagedFileError, match=r"a\.json is damaged"):
        read_json(tmp_path / "a.json")


def test_a_missing_file_is_missing_and_not_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "a.json")


def test_a_number_that_json_cannot_hold_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"loss": 1.0})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert read_json(tmp_path / "a.json") == {"loss": 1.0}
    assert names(tmp_path) == ["a.json"]


# whole or not there


def test_a_file_is_replaced_and_missing_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "text.md"
    write_text(path, "old")
    write_text(path, "new é")
    assert path.read_text(encoding="utf-8") == "new é"
    assert names(path.parent) == ["text.md"]


@pytest.mark.parametrize("reason", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_writer_that_is_stopped_in_the_middle_leaves_the_old_file_and_nothing_else(
    tmp_path, reason, kind
):
    def fill(path, text):
        if kind == "folder":
            path.mkdir()
            path = path / "part"
        path.write_text(text)

    target = tmp_path / "target"
    with replacing(target) as temporary:
        fill(temporary, "old")

    def stopped_in_the_middle():
        with replacing(target) as temporary:
            fill(temporary, "half")
            raise reason

    with pytest.raises(reason):
        stopped_in_the_middle()
    assert names(tmp_path) == ["target"]
    assert (target / "part" if kind == "folder" else target).read_text() == "old"


def test_a_writer_that_is_killed_in_the_middle_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"state": "old"})
    answer = python(
        "import os, pathlib, sys\n"
        "from bench.storage import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n",
        path,
    )
    assert answer.returncode == -signal.SIGKILL
    assert read_json(path) == {"state": "old"}
    write_json(path, {"state": "new"})
    assert read_json(path) == {"state": "new"}


def at_once(count, work):
    """Run work(number) in as many threads, all starting together."""
    barrier = threading.Barrier(count)
    errors = []

    def run(number):
        barrier.wait()
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize("attempt", range(5))
def test_of_writers_of_one_folder_one_wins_and_the_folder_is_whole(tmp_path, attempt):
    target = tmp_path / "artefact"

    def write(number):
        with replacing(target) as temporary:
            temporary.mkdir()
            for part in range(4):
                (temporary / f"{part}").write_text(f"{number}")

    at_once(8, write)
    assert names(tmp_path) == ["artefact"]
    assert names(target) == ["0", "1", "2", "3"]
    assert len({part.read_text() for part in target.iterdir()}) == 1


def test_of_writers_of_one_file_one_wins_and_the_file_is_whole(tmp_path):
    at_once(8, lambda number: write_json(tmp_path / "a.json", {"numbers": [number] * 1000}))
    assert len(set(read_json(tmp_path / "a.json")["numbers"])) == 1
    assert names(tmp_path) == ["a.json"]


# what the operating system refuses


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "free some space, then run the same command again"),
        (errno.EDQUOT, "free some space"),
        (errno.EACCES, "Choose another folder, or make it writable"),
        (errno.EROFS, "Choose another folder, or make it writable"),
        (errno.EIO, "Check the path, or choose another folder"),
    ],
)
def test_a_refused_write_is_told_with_the_place_the_reason_and_what_to_do(tmp_path, code, advice):
    path = tmp_path / "a.json"
    with pytest.raises(StorageError) as caught, replacing(path):
        raise OSError(code, os.strerror(code))
    assert str(path) in str(caught.value)
    assert os.strerror(code) in str(caught.value)
    assert advice in str(caught.value)


def test_a_full_disk_leaves_the_old_file_and_no_half_one(mounted):
    disk = mounted("size=64k")
    write_json(disk / "a.json", {"state": "old"})
    with pytest.raises(StorageError, match=r"No space left on device. The disk is full: free"):
        write_text(disk / "a.json", "x" * 200_000)
    assert names(disk) == ["a.json"]
    assert read_json(disk / "a.json") == {"state": "old"}


def test_a_full_disk_is_noticed_before_any_work(mounted):
    disk = mounted("size=64k")
    (disk / "ballast").write_bytes(b"x" * 64 * 1024)
    with pytest.raises(StorageError, match="The disk is full"):
        require_writable(disk)
    (disk / "ballast").unlink()
    require_writable(disk)
    assert names(disk) == []


def test_a_read_only_disk_is_noticed_before_any_work(mounted):
    with pytest.raises(StorageError, match="Choose another folder, or make it writable"):
        require_writable(mounted("size=64k,ro") / "results")


def test_a_folder_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*file/results"):
        require_writable(tmp_path / "file" / "results")


def test_looking_whether_a_folder_can_be_written_makes_it_and_leaves_nothing_in_it(tmp_path):
    require_writable(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []


# damaged ones


def test_what_is_set_aside_keeps_its_content_beside_its_old_place(tmp_path):
    for number in range(2):
        (tmp_path / "a.json").write_text(f"{number}")
        aside = set_aside(tmp_path / "a.json")
        assert aside.parent == tmp_path
        assert aside.read_text() == f"{number}"
    assert not (tmp_path / "a.json").exists()
    assert len(names(tmp_path)) == 2


def test_what_another_worker_has_set_aside_already_is_no_error(tmp_path):
    assert not set_aside(tmp_path / "a.json").exists()


def test_a_checksum_tells_one_byte(tmp_path):
    (tmp_path / "a").write_bytes(b"\x00" * 100_000)
    (tmp_path / "b").write_bytes(b"\x00" * 99_999 + b"\x01")
    (tmp_path / "c").write_bytes(b"\x00" * 100_000)
    assert file_checksum(tmp_path / "a") == file_checksum(tmp_path / "c")
    assert file_checksum(tmp_path / "a") != file_checksum(tmp_path / "b")


def test_every_error_of_this_module_is_one_that_users_see_without_a_traceback():
    assert issubclass(StorageError, BenchError)
    assert issubclass(DamagedFileError, BenchError)
