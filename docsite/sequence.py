"""Sequence diagrams as SVG, from the part of Mermaid's language that the documents use.

The forge draws such a fence by itself; in the site it is drawn when the site is built. So no page needs a script of
three megabytes, which the theme would fetch from elsewhere.
"""

from __future__ import annotations

import re
from html import escape
from typing import NamedTuple

_PARTICIPANT = re.compile(r"participant (\w+)(?: as (.+))?")
_MESSAGE = re.compile(r"(\w+)(-->>|->>|--x|-x)(\w+): ?(.*)")
_NOTE = re.compile(r"Note over (\w+)(?:,(\w+))?: ?(.*)")
_COLUMN, _ROW, _HEAD, _MARGIN = 140, 38, 34, 20
_LETTER = 7.2
"""The width of a letter, in pixels: texts are measured by it."""


class Message(NamedTuple):
    """An arrow from one participant to another; `lost` is one that never arrives."""

    start: str
    end: str
    text: str
    dashed: bool
    lost: bool


class Note(NamedTuple):
    """A text over one participant, or over all from one to another."""

    first: str
    last: str
    text: str


def parsed(source: str) -> tuple[dict[str, str], list[Message | Note]]:
    """The participants with their titles, and the steps in their order.

    Raises:
        ValueError: for a line that is not of that part of the language.
    """
    lines = [line.strip() for line in source.strip().splitlines() if line.strip()]
    if not lines or lines[0] != "sequenceDiagram":
        raise ValueError("only a sequenceDiagram is drawn")
    people: dict[str, str] = {}
    steps: list[Message | Note] = []
    for line in lines[1:]:
        if found := _PARTICIPANT.fullmatch(line):
            people[found[1]] = found[2] or found[1]
        elif found := _MESSAGE.fullmatch(line):
            steps.append(Message(found[1], found[3], found[4], found[2].startswith("--"), found[2].endswith("x")))
        elif found := _NOTE.fullmatch(line):
            steps.append(Note(found[1], found[2] or found[1], found[3]))
        else:
            raise ValueError(
                f"{line!r}: write participant A as Name, A->>B: text, A-->>B: text, A-xB: text, Note over A,B: text"
            )
    named = {name for step in steps for name in step[:2]}
    if unknown := named - people.keys():
        raise ValueError(f"{', '.join(sorted(unknown))}: no such participant; declare each one at the top")
    return people, steps


def svg(source: str) -> str:
    """The drawing, in the colours of the page around it; its texts stay texts, for search and for screen readers."""
    people, steps = parsed(source)
    column = _column(people, steps)
    place = {name: _MARGIN + column * (number + 0.5) for number, name in enumerate(people)}
    width = column * len(people) + 2 * _MARGIN
    height = _HEAD + _ROW * (len(steps) + 1)
    parts = [
        f'<line class="life" x1="{x:g}" x2="{x:g}" y1="{_HEAD}" y2="{height - 8}"/>'
        f'<rect class="who" x="{x - column / 2 + 8:g}" y="2" width="{column - 16:g}" height="{_HEAD - 4}" rx="5"/>'
        f'<text x="{x:g}" y="{_HEAD / 2 + 5:g}">{escape(people[name])}</text>'
        for name, x in place.items()
    ]
    for number, step in enumerate(steps, 1):
        y = _HEAD + _ROW * number
        parts.append(_note(step, place, y, width) if isinstance(step, Note) else _arrow(step, place, y))
    label = "Sequence of " + ", ".join(people.values())
    return (
        f'<svg class="sequence" role="img" aria-label="{escape(label)}" viewBox="0 0 {width:g} {height:g}" '
        f'style="max-width:{width:g}px">{"".join(parts)}</svg>'
    )


def _column(people: dict[str, str], steps: list[Message | Note]) -> float:
    """The width of a column, in which each title has room, and each text between the columns that it goes between."""
    number = {name: place for place, name in enumerate(people)}
    texts = [(len(title), 1) for title in people.values()]
    texts += [
        (len(step.text), abs(number[step[0]] - number[step[1]]) or 1) for step in steps if isinstance(step, Message)
    ]
    notes = [(len(step.text), len(people)) for step in steps if isinstance(step, Note)]
    return max(_COLUMN, *((letters * _LETTER + 24) / columns for letters, columns in texts + notes))


def _arrow(step: Message, place: dict[str, float], y: float) -> str:
    start, end = place[step.start], place[step.end]
    kind = "dashed" if step.dashed else "solid"
    if start == end:
        path = f"M{start:g} {y - 8:g}h26v12h-22"
        return (
            f'<path class="{kind}" d="{path}"/>{_head(start, y + 4, -1)}{_text(step.text, start + 34, y + 4, "start")}'
        )
    way = 1 if end > start else -1
    stop = end - way * 12 if step.lost else end
    tip = f'<path class="cross" d="M{stop - 5:g} {y - 5:g}l10 10m0-10l-10 10"/>' if step.lost else _head(stop, y, way)
    line = f'<line class="{kind}" x1="{start:g}" x2="{stop:g}" y1="{y:g}" y2="{y:g}"/>'
    return f"{line}{tip}{_text(step.text, (start + end) / 2, y - 6, 'middle')}"


def _head(x: float, y: float, way: int) -> str:
    return f'<path class="head" d="M{x:g} {y:g}l{-8 * way} -4v8z"/>'


def _note(step: Note, place: dict[str, float], y: float, width: float) -> str:
    left, right = sorted((place[step.first], place[step.last]))
    half = max((right - left) / 2 + 60, len(step.text) * _LETTER / 2 + 8)
    centre = min(max((left + right) / 2, half + 2), width - half - 2)
    box = f'<rect class="note" x="{centre - half:g}" y="{y - 17:g}" width="{2 * half:g}" height="25" rx="3"/>'
    return f"{box}{_text(step.text, centre, y, 'middle')}"


def _text(text: str, x: float, y: float, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" style="text-anchor:{anchor}">{escape(text)}</text>'
