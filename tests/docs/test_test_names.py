"""The names of tests: short enough to read in one line of a report."""

from __future__ import annotations

import ast

from tests.support.repository import ROOT

LONGEST = 70


def test_no_test_has_a_name_longer_than_70_characters() -> None:
    names = [
        f"{file.relative_to(ROOT)}: {node.name}"
        for folder in ("tests", "src")
        for file in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if node.name.startswith("test_") and len(node.name) > LONGEST
    ]
    assert not names
