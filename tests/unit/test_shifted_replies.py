"""One byte of a burst's structure is wrong: whoever is answered is answered with what was asked for, or not at all."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from greenroom.caching.lease import FILL, GET_OR_LEASE
from greenroom.engine.commands import Command, Hook
from greenroom.engine.protocol.attributes import ProtocolViolation
from greenroom.engine.protocol.wire import Wire
from greenroom.engine.scripts import Call
from greenroom.errors import BrokenValue
from greenroom.sessions.index import SET_ADD, SET_MEMBERS
from greenroom.sessions.owner import UserMember
from greenroom.sessions.snapshot import StoredSession
from greenroom.sessions.store import CHANGE, END
from torture.canned import Bursts, canned
from torture.frames import loses_replies
from torture.streams import SERVER, opened

KINDS = b"$*%~>|+-:,#_(=!"
DIGITS = b"0123456789"
COPY = b'{"user_id":"u1","preferences":{},"last_activity_timestamp":"2026-01-01T00:00:00.000000Z"}'
NUMBER, NONE = b":1\r\n", b"_\r\n"


def text(value: str) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value.encode())


def items(*frames: bytes) -> bytes:
    return b"*%d\r\n%b" % (len(frames), b"".join(frames))


def session(name: str, *, replaced: bool = False) -> tuple[Command, bytes]:
    """A read of a session, and what it is answered: of one that a rotation has replaced with its copy alone."""
    body = text(f'{{"user_id":"{name}"}}')
    found = (NONE, NONE, NONE, body) if replaced else (body, text("1"), text("2026-01-01"), NONE)
    return ("MGET", name, "touched", "life", "grace"), items(*found)


def over(name: str) -> tuple[Command, bytes]:
    return ("MGET", name, "touched", "life", "grace"), items(NONE, NONE, text("2026-01-01"), NONE)


def value(name: str) -> list[tuple[Command, bytes]]:
    return [(("PTTL", name), b":60000\r\n"), (("GET", name), text(name))]


def led(name: str) -> tuple[Command, bytes]:
    return GET_OR_LEASE.call((name, "lease", "absent"), ("token", 1000, "")), items(text("value"), text(name), NUMBER)


END_OF, CHANGED = (END.call(("s",), ()), NUMBER), (CHANGE.call(("s",), ()), items(text("gone")))
COUNTED, LISTED = (
    (SET_MEMBERS.call(("r",), (1, "0")), NUMBER),
    (SET_MEMBERS.call(("r",), (1, "1")), items(text("a"), text("b"))),
)
BURSTS: dict[str, list[tuple[Command, bytes]]] = {
    "sessions": [session(f"u{n}") for n in range(7)],
    "sessions that are over": [one for n in range(0, 9, 3) for one in (over(f"u{n}"), session(f"u{n + 1}"))],
    "sessions that were replaced": [session(f"u{n}", replaced=n % 3 == 1) for n in range(7)],
    "sessions and counts": [
        *(session(f"u{n}") for n in range(2)),
        END_OF,
        session("u2"),
        (SET_ADD.call(("r",), ()), NUMBER),
        COUNTED,
        *(session(f"u{n}") for n in range(3, 5)),
        LISTED,
        session("u5"),
        CHANGED,
        (("TIME",), items(text("1767225600"), text("1"))),
        *(session(f"u{n}") for n in range(6, 9)),
    ],
    "values": [one for n in range(8) for one in value(f"v{n}")],
    "values and fills": [
        *value("v0"),
        (FILL.call(("v",), ()), NUMBER),
        *value("v1"),
        led("v2"),
        led("v3"),
        (("DEL", "v"), NUMBER),
        *value("v4"),
        (("ZREM", "g", "v"), NUMBER),
        led("v5"),
        *value("v6"),
    ],
}


def handed_out(commands: Sequence[Command], data: bytes) -> dict[int, Any]:
    """What each command is answered with, by its place, before the connection ends."""
    wire, replies = Wire(lambda _: None), dict[int, Any]()

    def told(place: int) -> Hook:
        return lambda found, _: replies.update({place: found[0]})

    for place, command in enumerate(commands):
        wire.issue((command,), None, told(place))
    try:
        wire.feed(data)
    except ProtocolViolation:
        pass
    return replies


def answered(command: Command, reply: Any) -> str | None:
    """Whose session, or which value, its caller would be given."""
    if isinstance(reply, Exception):
        return None
    if command[0] == "MGET":
        found = StoredSession(*reply)
        is_live = found.body is not None and found.started_at is not None
        if found.body is not None and not is_live and UserMember().of(found.body) is None:
            return None  # it is no session
        return UserMember().of((found.body if is_live else found.left) or b"")
    if command[0] == "GET":
        return name_of(reply)
    is_led = isinstance(command, Call) and command.script is GET_OR_LEASE and reply[0] == b"value"
    return name_of(reply[1]) if is_led else None


def name_of(body: bytes | None) -> str | None:
    """The JSON is no JSON where it goes on into another reply; here it is a name."""
    return body.decode() if body is not None and re.fullmatch(rb"v\d+", body) else None


def with_one_byte_wrong(data: bytes) -> Iterator[bytes]:
    """Each kind in place of, and before, each frame's and item's own, and each digit of each length; each left out."""
    for line in re.finditer(rb"([$*:_])(\d*)\r\n", data):
        places = [(line.start(), KINDS), *((at, DIGITS) for at in range(*line.span(2)))]
        for at, others in places:
            for other in others:
                yield data[:at] + bytes([other]) + data[at + 1 :]
                yield data[:at] + bytes([other]) + data[at:]
            yield data[:at] + data[at + 1 :]


@pytest.mark.parametrize("burst", BURSTS)
def test_one_wrong_byte_hands_no_reader_what_another_has_asked_for(burst: str) -> None:
    commands, frames = zip(*BURSTS[burst], strict=True)
    data = b"".join(frames)
    own = {place: answered(commands[place], reply) for place, reply in handed_out(commands, data).items()}
    assert len(own) == len(commands)
    for wrong in with_one_byte_wrong(data):
        for place, reply in handed_out(commands, wrong).items():
            told = answered(commands[place], reply)
            assert told in (own[place], None) or loses_replies(frames, wrong), wrong


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(StoredSession(None, None, b"2026-01-01\r\n_\r\n*4", COPY), id="when it was begun"),
        pytest.param(StoredSession(None, b"1\r\n_\r\n_\r\n*4\r\n_", None, COPY), id="whether it was touched"),
    ],
)
async def test_behind_a_text_that_goes_on_no_copy_is_believed(found: StoredSession) -> None:
    async with canned(Bursts(random.Random("greenroom"))), opened(SERVER) as client:
        assert client.sessions.snapshot("a" * 43, found) is None


async def test_behind_json_that_goes_on_no_copy_is_believed() -> None:
    found = StoredSession(COPY + b"\r\n$1\r\n1\r\n*4\r\n_", None, None, COPY)
    async with canned(Bursts(random.Random("greenroom"))), opened(SERVER) as client:
        with pytest.raises(BrokenValue):
            client.sessions.snapshot("a" * 43, found)


async def test_a_copy_that_is_read_after_its_rotation_is_believed() -> None:
    async with canned(Bursts(random.Random("greenroom"))), opened(SERVER) as client:
        for found in (StoredSession(None, None, None, COPY), StoredSession(COPY, b"1", None, COPY)):
            live = client.sessions.snapshot("a" * 43, found)
            assert live is not None
            assert (live.writable, live.value.user_id) == (False, "u1")
