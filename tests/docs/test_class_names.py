"""A class has a name of its own: who reads one knows which it is."""

from __future__ import annotations

import re
from collections import defaultdict

from greenroom import sync
from tests.support.repository import ROOT

OTHERS = {
    "Greenroom": "src/greenroom/integrations/flask.py",
    "SessionStore": "src/greenroom/integrations/django/sessions.py",
}
"""Names that a framework asks for: `Greenroom(app)` in Flask by custom, `SessionStore` in Django's `SESSION_ENGINE`."""

_PUBLIC = re.compile(r"^ *class ([A-Za-z]\w*)[(:]", re.MULTILINE)


def test_no_two_public_classes_have_one_name() -> None:
    places = defaultdict[str, list[str]](list)
    for path in sorted((ROOT / "src").rglob("*.py")):
        for name in _PUBLIC.findall(path.read_text()):
            places[name].append(str(path.relative_to(ROOT)))
    assert len(places) > 400
    assert {name: found for name, found in places.items() if len(_apart(name, found)) > 1} == {}


def _apart(name: str, found: list[str]) -> list[str]:
    """Where a class is, without its twin for threads: the same name means the same there, without `await`."""
    twins = [one for one in found if name in sync.__all__ and one.startswith("src/greenroom/sync/")]
    return [one for one in found if one not in twins and one != OTHERS.get(name)]
