"""The protocol without a socket: order of replies, hooks and pushes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from greenroom.engine.protocol.attributes import ProtocolViolation
from greenroom.engine.protocol.errors import NotNow, reply_error
from greenroom.engine.protocol.wire import Wire
from greenroom.errors import CommandFailed, EngineRefused, EngineUnavailable, OutOfMemory

INVALIDATE = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"


def issue(wire: Wire, hook: Any = None) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    wire.issue((("GET", "k"),), future, hook)
    return future


async def test_commands_of_one_tick_are_taken_as_one_write() -> None:
    wire = Wire(lambda _: None)
    issue(wire)
    issue(wire)
    assert wire.take() == b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n" * 2
    assert wire.take() == b""


async def test_replies_resolve_in_order_however_the_bytes_are_cut() -> None:
    wire = Wire(lambda _: None)
    futures = [issue(wire) for _ in range(3)]
    for byte in b"$1\r\na\r\n_\r\n$0\r\n\r\n":
        wire.feed(bytes([byte]))
    assert [future.result() for future in futures] == [[b"a"], [None], [b""]]


async def test_one_read_of_any_length_is_handled_whole_and_in_order() -> None:
    seen: list[Any] = []
    wire = Wire(lambda push: seen.append(push[1]))
    bodies = [b"%d" % number * (number * 97) for number in range(200)]
    futures = [issue(wire, lambda replies, _: seen.extend(replies)) for _ in bodies]
    wire.feed(b"".join(b"$%d\r\n%b\r\n" % (len(body), body) + INVALIDATE for body in bodies))
    assert [future.result() for future in futures] == [[body] for body in bodies]
    assert seen == [one for body in bodies for one in (body, [b"k"])]


async def test_hooks_and_pushes_run_in_wire_order_before_any_task_resumes() -> None:
    seen: list[Any] = []
    wire = Wire(lambda push: seen.append(("push", push[1])))
    future = issue(wire, lambda replies, _: seen.append(("reply", *replies)))
    woken = asyncio.ensure_future(future)
    woken.add_done_callback(lambda _: seen.append(("task", None)))
    wire.feed(INVALIDATE + b"$1\r\na\r\n" + INVALIDATE)
    await asyncio.sleep(0)
    assert seen == [("push", [b"k"]), ("reply", b"a"), ("push", [b"k"]), ("task", None)]


async def test_a_cancelled_caller_leaves_its_slot_and_its_hook() -> None:
    wire = Wire(lambda _: None)
    seen: list[Any] = []
    first, second = issue(wire, lambda replies, _: seen.extend(replies)), issue(wire)
    first.cancel()
    wire.feed(b"$1\r\na\r\n$1\r\nb\r\n")
    assert second.result() == [b"b"]
    assert seen == [b"a"]


async def test_a_lost_connection_tells_what_was_written_from_what_was_not() -> None:
    wire = Wire(lambda _: None)
    written = issue(wire)
    wire.take()
    waiting = issue(wire)
    wire.fail(ConnectionError("sent"), ConnectionError("unsent"))
    assert str(written.exception()) == "sent"
    assert str(waiting.exception()) == "unsent"


@pytest.mark.parametrize("data", [b"?garbage\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_what_is_no_reply_is_an_error(data: bytes) -> None:
    wire = Wire(lambda _: None)
    issue(wire)
    with pytest.raises(ProtocolViolation):
        wire.feed(data)


async def test_a_reply_that_nobody_asked_for_is_an_error() -> None:
    with pytest.raises(ProtocolViolation):
        Wire(lambda _: None).feed(b"+OK\r\n")


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", OutOfMemory),
        ("WRONGPASS invalid username-password pair", EngineRefused),
        ("NOPERM this user has no permissions", EngineRefused),
        ("LOADING server is loading the dataset in memory", NotNow),
        ("READONLY You can't write against a read only replica.", NotNow),
        ("WRONGTYPE Operation against a key", CommandFailed),
    ],
)
async def test_an_error_reply_says_what_to_do_by_its_type(message: str, kind: type[Exception]) -> None:
    wire = Wire(lambda _: None)
    future = issue(wire)
    wire.feed(f"-{message}\r\n".encode())
    assert type(future.result()[0]) is kind
    assert type(reply_error(message)) is kind
    assert issubclass(NotNow, EngineUnavailable)
