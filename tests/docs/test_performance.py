"""`docs/performance.md` marks every target that was missed, and no other."""

from __future__ import annotations

import re

from bench.__main__ import LEGEND, met, table
from tests.support.repository import ROOT

PAGE = (ROOT / "docs" / "performance.md").read_text("utf-8")
_MISSED = " **missed**"


def test_the_page_marks_exactly_the_targets_that_were_missed() -> None:
    tables = [part for part in PAGE.split("\n\n") if part.partition("\n")[0].endswith("| target |")]
    pattern = re.compile(r"\| ([\d.]+) \| ((?:[≤≥] )?[\d.]+)( \*\*missed\*\*)? \|$", re.MULTILINE)
    rows = [row for part in tables for row in pattern.findall(part)]
    assert len(rows) >= 14
    for value, target, mark in rows:
        assert met(value, target) != bool(mark), (value, target)
    assert LEGEND in PAGE


def test_a_table_with_targets_marks_the_missed_ones() -> None:
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
    assert _MISSED not in table(["what", "result"], [["a", "2.3"]])
