"""Sequence diagrams of the documents: what is drawn of a fence, and what is refused."""

from __future__ import annotations

import re

import pytest

from docsite.sequence import svg

SOURCE = """
sequenceDiagram
  participant A as process A
  participant V as Valkey
  participant B
  A->>V: GET <key>
  V-->>A: nothing
  B-xV: ping
  V->>V: evicts
  Note over A,B: a text that is much longer than any of the arrows is wide, and stays inside
"""


def test_every_text_of_a_fence_is_in_the_drawing() -> None:
    drawing = svg(SOURCE)
    for text in ("process A", "Valkey", ">B<", "GET &lt;key&gt;", "nothing", "ping", "evicts", "a text that"):
        assert text in drawing
    assert drawing.count('class="head"') == 3
    assert drawing.count('class="cross"') == 1
    assert drawing.count('class="dashed"') == 1


def test_nothing_is_drawn_outside_of_the_picture() -> None:
    drawing = svg(SOURCE)
    (width,) = re.findall(r'viewBox="0 0 (\S+) ', drawing)
    boxes = re.findall(r'<rect class="\w+" x="(\S+)" y="\S+" width="(\S+)"', drawing)
    assert len(boxes) == 4
    for left, wide in boxes:
        assert float(left) >= 0
        assert float(left) + float(wide) <= float(width)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("A->B: solid without a head", "write participant A as Name"),
        ("A->>C: hello", "C: no such participant"),
        ("loop all", "write participant A as Name"),
    ],
)
def test_a_line_that_cannot_be_drawn_is_refused(line: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        svg(f"sequenceDiagram\nparticipant A\nparticipant B\n{line}")
    with pytest.raises(ValueError, match="only a sequenceDiagram"):
        svg("flowchart LR")
