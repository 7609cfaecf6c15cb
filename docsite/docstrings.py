"""Our docstrings for mkdocstrings: what its reader of the Google style would leave out is written as it wants it.

Ours name several arguments in one item (`done, total: …`), and say "As `read`." of errors that another call describes.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_SECTION = re.compile(
    r"^(?P<indent> *)(?P<name>Arguments|Raises):\n(?P<items>(?:(?P=indent)    .*\n|\s*\n)+)", re.MULTILINE
)
_NAMES = r"\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*"
_ITEM = re.compile(rf"^(?P<indent> *)(?P<names>{_NAMES}): (?P<text>.*(?:\n(?P=indent) +.*)*)", re.DOTALL)


def rewritten(text: str) -> str:
    """The docstring, with one name for each item of its sections."""
    return _SECTION.sub(_section, text + "\n").rstrip("\n")


def _section(found: re.Match[str]) -> str:
    indent = found["indent"] + "    "
    items = re.split(rf"^(?={indent}\S)", found["items"], flags=re.MULTILINE)
    return f"{found['indent']}{found['name']}:\n" + "".join(_item(one, found["name"], indent) for one in items)


def _item(item: str, section: str, indent: str) -> str:
    if not item.strip():
        return item
    named = _ITEM.match(item)
    if named is None:
        # An error that has no name of its own: "Whatever the database raises."
        return f"{indent}Exception: {item.lstrip()}" if section == "Raises" else item
    names = named["names"].split(", ")
    return "".join(f"{indent}{name}: {named['text'].rstrip()}\n" for name in names) + "\n" * item.endswith("\n\n")


class OneNameEach(griffe.Extension):
    """Applies `rewritten` to every docstring that is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for each module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = rewritten(obj.docstring.value)
