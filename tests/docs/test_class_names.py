"""A class has a name of its own: who reads one knows which it is."""

from __future__ import annotations

import ast
from collections import defaultdict

from greenroom import sync
from tests.support.repository import ROOT

OTHERS = {
    "Greenroom": "src/greenroom/integrations/flask.py",
    "SessionStore": "src/greenroom/integrations/django/sessions.py",
}
"""Names that a framework asks for: `Greenroom(app)` in Flask by custom, `SessionStore` in Django's `SESSION_ENGINE`."""


def test_no_two_public_classes_have_one_name() -> None:
    places = defaultdict[str, list[str]](list)
    for path in sorted((ROOT / "src").rglob("*.py")):
        for one in ast.walk(ast.parse(path.read_text())):
            if isinstance(one, ast.ClassDef) and not one.name.startswith("_"):
                places[one.name].append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(_apart(name, found)) > 1} == {}


def _apart(name: str, found: list[str]) -> list[str]:
    """Where a class is, without its twin for threads: the same name means the same there, without `await`."""
    twins = [one for one in found if name in sync.__all__ and one.startswith("src/greenroom/sync/")]
    return [one for one in found if one not in twins and one != OTHERS.get(name)]
