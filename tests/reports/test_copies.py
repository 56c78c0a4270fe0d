"""A folder that is known to hold a published data set is called a copy of it everywhere."""

from __future__ import annotations

import copy

from reports.collection import Collection
from reports.content import contents
from reports.copies import read_copies
from reports.markdown import as_page


def test_every_table_and_figure_names_the_copy(records):
    (known,) = read_copies()
    ours = copy.deepcopy(records)
    for record in ours:
        record["specs"]["dataset"] = record["cell"]["dataset"]["name"] = "imagefolder"
        record["cell"]["dataset"]["fingerprint"] = known.fingerprint
    report = contents(Collection.of(ours), ours)
    titles = [one.title for one in (*report.tables, *report.figures)]
    assert any(known.label in title for title in titles)
    assert not [title for title in titles if "imagefolder" in title]
    page = as_page(report, "")
    assert f"Data: {known.label} ({known.fingerprint})" in page
    assert "Data: imagefolder" not in page
    of_another = copy.deepcopy(ours)
    for record in of_another:
        record["cell"]["dataset"]["fingerprint"] = "files-0"
    assert known.label not in as_page(contents(Collection.of(of_another), of_another), "")


def test_a_name_that_the_folder_gives_is_told_everywhere(records):
    ours = copy.deepcopy(records)
    for record in ours:
        record["specs"]["dataset"] = record["cell"]["dataset"]["name"] = "imagefolder"
        record["data_name"] = "My photos"
    report = contents(Collection.of(ours), ours)
    titles = [one.title for one in (*report.tables, *report.figures)]
    assert any("My photos" in title for title in titles)
    assert not [title for title in titles if "imagefolder" in title]
    assert "Data: imagefolder" not in as_page(report, "")
