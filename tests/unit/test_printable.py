"""Text of others as logs and terminals show it."""

from __future__ import annotations

import ast
import io
import json
import logging
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenroom.printable import printable, printable_json
from greenroom_platform.http import logs
from tests.support.repository import ROOT


def logged(monkeypatch: pytest.MonkeyPatch, format_: str, say: Callable[[], None]) -> str:
    """What is written of what is logged."""
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    loggers = [logging.getLogger(name) for name in ("greenroom", "uvicorn", "litestar", "asyncio")]
    before = [(log.handlers, log.level, log.propagate) for log in loggers]
    try:
        logs.configure(format_=format_, level="info")
        say()
    finally:
        for one, (handlers, level, propagate) in zip(loggers, before, strict=True):
            one.handlers, one.level, one.propagate = handlers, level, propagate
    return written.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é \U0001f399", "plain é \U0001f399"),
        ("two\nlines\r\n", r"two\nlines\r\n"),
        ("\x1b[31mred\x07\x00", r"\x1b[31mred\x07\x00"),
        ("\x7f\x9b1m", r"\x7f\x9b1m"),
        ("a\u2028b\u202ec", r"a\u2028b\u202ec"),
        ("a\udcffb", r"a\udcffb"),
        ("a\u200eb\u200fc\u061c", r"a\u200eb\u200fc\u061c"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(categories=None)))
def test_whatever_is_shown_is_one_line(text: str) -> None:
    assert len(printable(text).splitlines()) <= 1
    assert printable(text).encode().decode() == printable(text)
    assert printable(printable(text)) == printable(text)


def test_a_traceback_keeps_its_lines_and_nothing_else() -> None:
    assert printable("one\n\ttwo\x1b[0m", lines=True) == "one\n\ttwo\\x1b[0m"


@pytest.mark.parametrize("more", ["", "\udcff"])
def test_a_json_line_holds_the_text_and_no_control_character(monkeypatch: pytest.MonkeyPatch, more: str) -> None:
    said = f"a\nb\x1b[2J\x7f\x9b2J\u202e\u200f\u2028{more}"
    written = logged(monkeypatch, "json", lambda: logging.getLogger("greenroom").info("%s", said))
    assert json.loads(written)["message"] == said
    assert printable(written, lines=True) == written
    assert len(written.splitlines()) == 1


def test_json_of_several_lines_keeps_them_and_is_the_same_value() -> None:
    value = {"key\x7f": ["\x9b2J\u202e", "\udcff\r\n", "é \U0001f399"]}
    text = printable_json(json.dumps(value, ensure_ascii=False, indent=2), lines=True)
    assert json.loads(text) == value
    assert len(text.splitlines()) == 7
    assert printable(text, lines=True) == text
    assert "é \U0001f399" in text


def test_warnings_of_the_event_loop_are_log_lines_too(monkeypatch: pytest.MonkeyPatch) -> None:
    written = logged(monkeypatch, "text", lambda: logging.getLogger("asyncio").error("lost \x1b[2J"))
    assert written.rstrip().endswith(r"ERROR   asyncio [-] lost \x1b[2J")


def test_a_log_line_is_one_line_whatever_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def say() -> None:
        log = logging.getLogger("greenroom")
        log.info("a %s", "line\nthat \x1b[2Jlies")
        try:
            raise ValueError("\x1b[2J")
        except ValueError:
            log.exception("failed")

    written = logged(monkeypatch, "text", say)
    lines = written.splitlines()
    assert lines[0].endswith(r"a line\nthat \x1b[2Jlies")
    assert lines[-1] == r"ValueError: \x1b[2J"
    assert "\x1b" not in written


def test_every_logger_of_ours_is_one_that_is_set_up() -> None:
    ours = set[str]()
    texts = (path.read_text() for path in (ROOT / "src").rglob("*.py"))
    for text in texts:
        for call in ast.walk(ast.parse(text)) if "getLogger" in text else ():
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "getLogger":
                (name,) = call.args
                ours |= {str(name.value)} if isinstance(name, ast.Constant) else set()
    assert "greenroom.studio" in ours
    assert [name for name in sorted(ours) if not name.startswith("greenroom.")] == ["uvicorn.error"]
