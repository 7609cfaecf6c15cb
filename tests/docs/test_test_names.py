"""The names of tests: short enough to read in one line of a report."""

from __future__ import annotations

import re

from tests.support.repository import ROOT

LONGEST = 70
_TEST = re.compile(r"^ *(?:async )?def (test_\w+)", re.MULTILINE)


def test_no_test_has_a_name_longer_than_70_characters() -> None:
    # Not parsed: that would take 3 s for all files.
    names = [
        f"{file.relative_to(ROOT)}: {name}"
        for folder in ("tests", "src")
        for file in sorted((ROOT / folder).rglob("*.py"))
        for name in _TEST.findall(file.read_text("utf-8"))
    ]
    assert len(names) > 1000
    assert [name for name in names if len(name.rpartition(" ")[2]) > LONGEST] == []
