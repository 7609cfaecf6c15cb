"""RESP3 attributes are skipped wherever they stand, however the bytes are cut, and text that looks like one is text."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from greenroom.engine.commands import Command
from greenroom.engine.protocol.attributes import ProtocolViolation
from greenroom.engine.protocol.wire import Wire

TTL = b"|1\r\n+ttl\r\n:3600\r\n"
DEEP = b"|2\r\n$3\r\nk|y\r\n*2\r\n~1\r\n#t\r\n%1\r\n+a\r\n,1.5\r\n=7\r\ntxt:abc\r\n|1\r\n+inner\r\n_\r\n(12345\r\n"
EMPTY = b"|0\r\n"
BEFORE_A_KEY = b"|1\r\n" + TTL + b"+a\r\n" + EMPTY + b"*0\r\n"
ATTRIBUTES = [TTL, DEEP, EMPTY, BEFORE_A_KEY, TTL + DEEP + EMPTY]


def replies_to(commands: tuple[Command, ...], data: bytes, *, step: int = 0) -> list[Any]:
    """The replies that a wire reads from bytes that come in pieces of `step`; 0: all at once."""
    pushes: list[Any] = []
    wire = Wire(pushes.append)
    found: list[Any] = []
    for command in commands:
        wire.issue((command,), None, lambda replies, _: found.extend(replies))
    for at in range(0, len(data), step or len(data)):
        wire.feed(data[at : at + (step or len(data))])
    assert wire.answered == len(commands)
    return found + pushes


GET, MGET = ("GET", "k"), ("MGET", "a", "b")


@pytest.mark.parametrize("step", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_an_attribute_before_a_reply_is_skipped(attribute: bytes, step: int) -> None:
    data = attribute + b"$1\r\na\r\n" + b"$1\r\nb\r\n" + attribute + b"$1\r\nc\r\n"
    assert replies_to((GET, GET, GET), data, step=step) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("step", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_an_attribute_inside_a_reply_is_no_item_of_it(attribute: bytes, step: int) -> None:
    data = b"*2\r\n" + attribute + b"$1\r\na\r\n" + attribute + b"$1\r\nb\r\n$1\r\nc\r\n"
    assert replies_to((MGET, GET), data, step=step) == [[b"a", b"b"], b"c"]


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_an_attribute_before_and_inside_a_push_is_skipped(attribute: bytes) -> None:
    push = attribute + b">2\r\n" + attribute + b"$10\r\ninvalidate\r\n*1\r\n" + attribute + b"$1\r\nk\r\n"
    assert replies_to((GET,), push + b"$1\r\na\r\n") == [b"a", [b"invalidate", [b"k"]]]


@pytest.mark.parametrize("step", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("text", [b"|", b"||", b"\n|1\r\n+ttl\r\n:1\r\n", b"a|b\r\n|c", TTL, TTL * 3, b"\r\n|0\r\n"])
def test_text_that_looks_like_an_attribute_is_text(text: bytes, step: int) -> None:
    one = b"$%d\r\n%b\r\n" % (len(text), text)
    assert replies_to((GET, MGET, GET), one + b"*2\r\n" + one + one + one, step=step) == [text, [text, text], text]


def test_a_line_that_begins_with_a_bar_inside_a_long_text_is_text() -> None:
    table = b"".join(b"| %d | %d |\r\n" % (n, n) for n in range(2000))
    data = TTL + b"$%d\r\n%b\r\n" % (len(table), table) + TTL + b"_\r\n"
    for step in (0, 100, 4096):
        assert replies_to((GET, GET), data, step=step) == [table, None]


def test_a_long_run_of_bars_is_not_parsed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[int] = []
    parse = Wire._parse

    def counted(wire: Wire, data: bytes) -> None:
        pieces.append(len(data))
        parse(wire, data)

    monkeypatch.setattr(Wire, "_parse", counted)
    bars = b"|" * 100_000
    one = b"$%d\r\n%b\r\n" % (len(bars), bars)
    for step in (0, 4096):
        assert replies_to((GET, GET), one + TTL + one + TTL, step=step) == [bars, bars]
    assert len(pieces) < 500


@pytest.mark.parametrize(
    "attribute",
    [
        b"|-1\r\n",
        b"|x\r\n",
        b"|\r\n",
        b"|1\r\n?\r\n",
        b"|1\r\n*1\r\n+a\r\n+a\r\n",
        b"|2\r\n+a\r\n+a\r\n:1\r\n+a\r\n",
        b"|1\r\n+a\r\n|1\r\n_\r\n_\r\n+a\r\n",
        b"|1\r\n|1\r\n+a\r\n+a\r\n%0\r\n+a\r\n",
        b"|1\r\n$x\r\n",
        b"|99999999\r\n",
        b"|1\r\n$99999999\r\n",
        b"|1\r\n+" + b"a" * 70_000,
        b"|1\r\n" + b"*1\r\n" * 40,
        b"|10000\r\n" + (b"$1000\r\n" + b"a" * 1000 + b"\r\n") * 2000,
    ],
)
def test_what_is_no_attribute_ends_the_connection(attribute: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        replies_to((GET,), attribute + b"$1\r\na\r\n")


async def test_the_readers_behind_an_attribute_each_get_their_own() -> None:
    wire = Wire(None)
    futures = [asyncio.get_running_loop().create_future() for _ in range(4)]
    for future in futures:
        wire.issue((MGET,), future)
    own = [b"*2\r\n$1\r\n%d\r\n_\r\n" % n for n in range(4)]
    wire.feed(own[0] + TTL + own[1] + b"*2\r\n" + TTL + own[2][4:] + own[3])
    assert [future.result() for future in futures] == [[[b"%d" % n, None]] for n in range(4)]
