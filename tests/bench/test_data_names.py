"""Names that a results folder gives to data sets: read with its records, part of no identity."""

from __future__ import annotations

import pytest

from bench.data_names import NAMES, read_names


def test_names_are_read_by_fingerprint(tmp_path):
    assert read_names(tmp_path, pytest.fail) == {}
    (tmp_path / NAMES).write_text('files-0a = "My  photos"\n', encoding="utf-8")
    assert read_names(tmp_path, pytest.fail) == {"files-0a": "My photos"}


def test_a_file_of_another_editor_is_read(tmp_path):
    (tmp_path / NAMES).write_text("a = 'ä/b'\r\n", encoding="utf-8-sig", newline="")
    assert read_names(tmp_path, pytest.fail) == {"a": "ä/b"}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("no toml", {}),
        ("a = 1\nb = 'dogs'", {"b": "dogs"}),
        ("a = ' '", {}),
        (f"a = '{'x' * 61}'\nb = '{'x' * 60}'", {"b": "x" * 60}),  # no file has such a name
        ('a = "\\u0007"', {}),  # no page and no figure can show it
        ("files-0.a = 'x'", {}),
    ],
)
def test_what_is_no_name_is_told_and_left_out(text, kept, tmp_path):
    told = []
    (tmp_path / NAMES).write_text(text, encoding="utf-8")
    assert read_names(tmp_path, told.append) == kept
    assert len(told) == 1
    assert 'Write: FINGERPRINT = "name"' in told[0]
