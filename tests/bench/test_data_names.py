"""Names that a results folder gives to data sets: read with its records, part of no identity."""

from __future__ import annotations

import pytest

from bench.data_names import NAMES, read_names


def test_names_are_read_by_fingerprint(tmp_path):
    assert read_names(tmp_path, pytest.fail) == {}
    (tmp_path / NAMES).write_text('files-0a = "My  photos"\n', encoding="utf-8")
    assert read_names(tmp_path, pytest.fail) == {"files-0a": "My photos"}


@pytest.mark.parametrize(
    ("text", "kept"), [("no toml", {}), ("a = 1\nb = 'dogs'", {"b": "dogs"}), ("a = ' '", {})]
)
def test_what_is_no_name_is_told_and_left_out(text, kept, tmp_path):
    told = []
    (tmp_path / NAMES).write_text(text, encoding="utf-8")
    assert read_names(tmp_path, told.append) == kept
    assert len(told) == 1
    assert 'Write: FINGERPRINT = "name"' in told[0]
