"""A class has a name of its own: who reads one knows which it is."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.support.repository import ROOT

TWINS = {
    "Cache",
    "CachedFunction",
    "DropTarget",
    "Greenroom",
    "Jobs",
    "Presence",
    "RateLimit",
    "Sessions",
    "Store",
}
"""What `greenroom.sync` has as the library has it: one changes an import and leaves out `await`."""

EXTENSIONS = {"Greenroom": "src/greenroom/integrations/flask.py"}
"""What a framework's custom calls by the package's name: `Greenroom(app)` in Flask."""


def test_no_two_public_classes_have_one_name() -> None:
    places = defaultdict[str, list[str]](list)
    for path in sorted((ROOT / "src").rglob("*.py")):
        for one in ast.walk(ast.parse(path.read_text())):
            if isinstance(one, ast.ClassDef) and not one.name.startswith("_"):
                places[one.name].append(str(path.relative_to(ROOT)))
    for name in TWINS:
        places[name] = [path for path in places[name] if not path.startswith("src/greenroom/sync/")]
    for name, extension in EXTENSIONS.items():
        places[name].remove(extension)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
