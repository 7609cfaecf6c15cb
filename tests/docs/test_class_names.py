"""A class has a name of its own: who reads one knows which it is."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.support.repository import ROOT


def test_no_two_public_classes_have_one_name() -> None:
    places = defaultdict[str, list[str]](list)
    for path in sorted((ROOT / "src").rglob("*.py")):
        for one in ast.walk(ast.parse(path.read_text())):
            if isinstance(one, ast.ClassDef) and not one.name.startswith("_"):
                places[one.name].append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
