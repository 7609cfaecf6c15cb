"""`docs/performance.md` marks each target as met or missed, by the figure beside it."""

from __future__ import annotations

import re

from bench.__main__ import SAYS, met, table, written
from tests.support.repository import ROOT

PAGE = (ROOT / "docs" / "performance.md").read_text("utf-8")
_MISSED = " **missed**"


def test_the_page_marks_each_target_as_its_figure_says() -> None:
    tables = [part for part in PAGE.split("\n\n") if part.partition("\n")[0].endswith("| target |")]
    pattern = re.compile(r"\| ([\d.]+) \| ((?:[≤≥] )?[\d.]+)( \*\*missed\*\*| met) \|$", re.MULTILINE)
    rows = [row for part in tables for row in pattern.findall(part)]
    assert len(rows) >= 14
    for value, target, mark in rows:
        assert met(value, target) == (mark == " met"), (value, target)
    for name, what in SAYS.items():
        assert f"| {name} | " in PAGE, what


def test_a_table_with_targets_marks_them_as_met_or_missed() -> None:
    rows = [
        ["a", "2.3", "≤ 2.2"],
        ["b", "2.2", "≤ 2.2"],
        ["c", "4.88", "≥ 5"],
        ["d", "1.00", "1"],
        ["e", "2", "1"],
        ["f", "9", ""],
    ]
    lines = table(["what", "result", "target"], rows).splitlines()[2:]
    assert [line.split(" | ")[0][2:] for line in lines if _MISSED in line] == ["a", "c", "e"]
    assert [line.rsplit(" | ", 1)[1] for line in lines if " met |" in line] == ["≤ 2.2 met |", "1 met |"]
    assert _MISSED not in table(["what", "result"], [["a", "2.3"]])


def test_a_group_that_is_written_leaves_the_other_sections() -> None:
    page = written("# Performance\n\nOld.\n\n## Reads\n\nold reads\n\n## HTTP\n\nold http\n", "# New", {"HTTP": "new"})
    assert page == "# New\n\n## Reads\n\nold reads\n\n## HTTP\n\nnew\n"
