"""A reply that does not fit its command ends the connection before a later reply is handed out."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Set
from pathlib import Path
from typing import Any

import pytest

from greenroom import sessions
from greenroom.acl import _CACHES, _CONNECTION, _SESSIONS
from greenroom.caching import drops, groups, keyspace_drops, lease
from greenroom.caching.releases import RELEASE
from greenroom.caching.store_tier import COMMANDS, COMPARE_AND_SET, INCREMENT
from greenroom.counters import Histogram
from greenroom.engine.commands import Command
from greenroom.engine.limits import Limits
from greenroom.engine.protocol.attributes import ProtocolViolation
from greenroom.engine.protocol.errors import ConnectionLost, NotSent
from greenroom.engine.protocol.wire import Wire
from greenroom.engine.scripts import Script
from greenroom.engine.shapes import ANYTHING, SHAPES
from greenroom.engine.transport.connection import Connection
from greenroom.errors import EngineError
from greenroom.rate_limit import ATTEMPT
from greenroom.sessions import index, store
from greenroom_platform import accounts
from greenroom_platform.cli.declarations import DECLARATIONS
from greenroom_platform.domain.leadership import LEAD

FRAMES = {
    "text": b"$1\r\na\r\n",
    "line": b"+a\r\n",
    "number": b":7\r\n",
    "none": b"_\r\n",
    "old none": b"$-1\r\n",
    "float": b",1.5\r\n",
    "true": b"#t\r\n",
    "false": b"#f\r\n",
    "big": b"(1234567890123456789012\r\n",
    "verbatim": b"=5\r\ntxt:a\r\n",
    "empty list": b"*0\r\n",
    "list": b"*2\r\n$1\r\na\r\n_\r\n",
    "short list": b"*1\r\n$1\r\na\r\n",
    "list of lists": b"*2\r\n*0\r\n*0\r\n",
    "list of errors": b"*2\r\n-ERR a\r\n-ERR b\r\n",
    "map": b"%1\r\n+a\r\n:1\r\n",
    "set": b"~3\r\n:1\r\n:2\r\n:3\r\n",
    "map by a list": b"%1\r\n*1\r\n:1\r\n:1\r\n",
    "map by a map": b"%1\r\n%0\r\n:1\r\n",
    "too many items": b"*4294967294\r\n",
    "blob error": b"!5\r\nERR x\r\n",
    "huge integer": b":99999999999999999999999999\r\n",
    "push": b">2\r\n+pubsub\r\n+a\r\n",
    "empty push": b">0\r\n",
    "push of numbers": b">2\r\n$10\r\ninvalidate\r\n*1\r\n:1\r\n",
    "push without keys": b">1\r\n$10\r\ninvalidate\r\n",
}
GOOD = {"text", "line", "none", "old none", "big", "verbatim"}
"""Those that a GET can be answered with, as far as the protocol tells."""
KEYS = ("a", "b", "c")

FITTING: list[tuple[Command, list[bytes]]] = [
    (("GET", "k"), [b"_\r\n", b"$1\r\na\r\n"]),
    (("MGET", "a", "b"), [b"*2\r\n_\r\n$1\r\na\r\n"]),
    (("SET", "k", "v"), [b"+OK\r\n", b"_\r\n"]),
    (("PTTL", "k"), [b":-1\r\n"]),
    (("DEL", "k"), [b":0\r\n"]),
    (("PEXPIRE", "k", 1, "LT"), [b":0\r\n"]),
    (("ZREM", "k", "m"), [b":0\r\n"]),
    (("TIME",), [b"*2\r\n$2\r\n12\r\n$1\r\n3\r\n"]),
    (("INFO", "memory"), [b"=5\r\ntxt:a\r\n", b"$0\r\n\r\n"]),
    (("PING",), [b"+PONG\r\n"]),
    (("SCRIPT", "LOAD", "return 1"), [b"+a\r\n"]),
    (("CLIENT", "TRACKING", "ON"), [b"+OK\r\n"]),
    (("SELECT", 1), [b"+OK\r\n"]),
    (("READONLY",), [b"+OK\r\n"]),
    (("ASKING",), [b"+OK\r\n"]),
    (("HELLO", 3), [b"%2\r\n+proto\r\n:3\r\n+server\r\n+valkey\r\n"]),
    (("CLUSTER", "INFO"), [b"$1\r\na\r\n"]),
    (("CLUSTER", "SHARDS"), [b"*0\r\n", b"*1\r\n%0\r\n"]),
    (("ZRANGE", "k", 0, -1), [b"*0\r\n", b"*1\r\n$1\r\nm\r\n"]),
    (("ZMSCORE", "k", "a", "b"), [b"*2\r\n_\r\n,1.5\r\n"]),
    (lease.FILL.call(KEYS, ()), [b":1\r\n"]),
    (lease.FILL_ABSENCE.call(KEYS, ()), [b":0\r\n"]),
    (RELEASE.call(KEYS, ()), [b":0\r\n"]),
    (lease.RENEW.call(KEYS, ()), [b":0\r\n"]),
    (lease.READ_BACK.call(KEYS, ()), [b":-3\r\n"]),
    (
        lease.GET_OR_LEASE.call(KEYS, ()),
        [
            b"*3\r\n$5\r\nvalue\r\n$1\r\na\r\n:-1\r\n",
            b"*2\r\n$6\r\nabsent\r\n:1\r\n",
            b"*2\r\n$4\r\nwait\r\n:1\r\n",
            b"*3\r\n$6\r\nfailed\r\n$1\r\na\r\n:1\r\n",
            b"*1\r\n$4\r\nlead\r\n",
            b"*2\r\n$5\r\nnewer\r\n$1\r\na\r\n",
        ],
    ),
    (groups.REGISTER.call(KEYS, ()), [b":1\r\n"]),
    (groups.FORGET.call(KEYS, ()), [b":1\r\n"]),
    (groups.MEMBERS.call(KEYS, ()), [b"*0\r\n", b"*2\r\n$1\r\nm\r\n$3\r\ninf\r\n"]),
    (INCREMENT.call(KEYS, ()), [b":1\r\n", b"$1\r\n9\r\n", b"_\r\n"]),
    (COMPARE_AND_SET.call(KEYS, ()), [b":1\r\n"]),
    (drops.DROP.call(KEYS, ()), [b":1\r\n"]),
    (keyspace_drops.GENERATION.call(KEYS, ()), [b"*2\r\n$0\r\n\r\n:1\r\n"]),
    (LEAD.call(KEYS, ()), [b":0\r\n"]),
    (index.SET_ADD.call(KEYS, ()), [b":1\r\n"]),
    (index.SET_MEMBERS.call(KEYS, (1, "0")), [b":1\r\n"]),
    (index.SET_MEMBERS.call(KEYS, (1, "1")), [b"*0\r\n", b"*1\r\n$1\r\na\r\n"]),
    (ATTEMPT.call(KEYS, ()), [b":1\r\n"]),
    (store.START.call(KEYS, ()), [b"_\r\n", b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"*2\r\n_\r\n$1\r\nb\r\n"]),
    (
        store.CHANGE.call(KEYS, ()),
        [
            b"*3\r\n$7\r\nwritten\r\n$1\r\na\r\n$1\r\nb\r\n",
            b"*2\r\n$7\r\ndiffers\r\n$1\r\na\r\n",
            b"*1\r\n$4\r\ngone\r\n",
        ],
    ),
    (
        store.CLAIM.call(KEYS, ()),
        [b"*3\r\n$5\r\ntaken\r\n:1\r\n$1\r\nb\r\n", b"*2\r\n$7\r\ndiffers\r\n$1\r\na\r\n", b"*1\r\n$4\r\ngone\r\n"],
    ),
    (store.END.call(KEYS, ()), [b":1\r\n"]),
]


TEXTS = frozenset({"text", "line", "big", "verbatim"})
NONES = frozenset({"none", "old none"})
NUMBERS = frozenset({"number"})
OTHERS_THAT_FIT: defaultdict[str, Set[str]] = defaultdict(
    frozenset,
    {
        "GET k": TEXTS | NONES,
        "SET k v": NONES,
        "MGET a b": {"list"},
        **dict.fromkeys(("PTTL k", "DEL k", "PEXPIRE k 1 LT", "ZREM k m"), NUMBERS),
        **dict.fromkeys(("INFO memory", "SCRIPT LOAD return 1", "CLUSTER INFO"), TEXTS),
        "CLUSTER SHARDS": {kind for kind in FRAMES if "list" in kind and kind != "map by a list"} | {"set"},
        "ZRANGE k 0 -1": {"empty list", "short list"},
    },
)
"""Which of FRAMES fit a command, by its name."""
SCRIPTS_THAT_FIT: dict[str, Set[str]] = {
    **dict.fromkeys(
        (
            lease.FILL.sha,
            lease.FILL_ABSENCE.sha,
            RELEASE.sha,
            lease.RENEW.sha,
            lease.READ_BACK.sha,
            ATTEMPT.sha,
            LEAD.sha,
            COMPARE_AND_SET.sha,
            store.END.sha,
        ),
        NUMBERS,
    ),
    **dict.fromkeys((drops.DROP.sha, groups.REGISTER.sha, groups.FORGET.sha, index.SET_ADD.sha), NUMBERS),
    groups.MEMBERS.sha: {"empty list"},
    index.SET_MEMBERS.sha: {"number", "empty list", "short list"},
    store.START.sha: NONES | {"list"},
    INCREMENT.sha: NUMBERS | TEXTS | NONES,
}


def name(command: Any) -> str:
    return " ".join(map(str, command))[:30] if isinstance(command, tuple) else ""


def answer(command: Command, data: bytes) -> list[Any]:
    """What a caller is given whose command is answered so."""
    wire, found = Wire(lambda _: None), list[Any]()
    wire.issue((command,), None, lambda replies, _: found.extend(replies))
    wire.feed(data)
    return found


@pytest.mark.parametrize(("command", "frames"), FITTING, ids=name)
def test_what_a_command_can_be_answered_fits(command: Command, frames: list[bytes]) -> None:
    for frame in frames:
        assert len(answer(command, frame)) == 1
    assert isinstance(answer(command, b"-ERR no\r\n")[0], EngineError)


@pytest.mark.parametrize(("command", "frames"), FITTING, ids=name)
def test_what_a_command_cannot_be_answered_ends_the_connection(command: Command, frames: list[bytes]) -> None:
    wrong = [frame for kind, frame in FRAMES.items() if kind not in fitting(command)]
    assert len(wrong) > 10
    for frame in wrong:
        with pytest.raises(ProtocolViolation):
            answer(command, frame)


def fitting(command: Command) -> Set[str]:
    """Which of FRAMES fit."""
    if command[0] != "EVALSHA":
        return OTHERS_THAT_FIT[name(command)]
    return SCRIPTS_THAT_FIT.get(str(command[1]), set())


@pytest.mark.parametrize("frame", sorted(set(FRAMES) - GOOD))
async def test_no_reader_behind_a_frame_too_many_gets_the_value_of_another(frame: str) -> None:
    connection = Connection(
        asyncio.get_running_loop(), on_push=lambda _: None, heartbeat=False, latency=Histogram(), limits=Limits()
    )
    connection.connection_made(Transport())
    futures = [connection.issue((("GET", f"k{n}"),)) for n in range(3)]
    await asyncio.sleep(0)
    values = [b"$2\r\nk%d\r\n" % n for n in range(3)]
    connection.data_received(values[0] + FRAMES[frame] + values[1] + values[2])
    assert futures[0].result() == [b"k0"]
    for future in futures[1:]:
        assert isinstance(future.exception(), ConnectionLost)
    assert "invalid reply" in connection.reason


async def test_an_error_that_comes_before_the_log_in_is_the_reason() -> None:
    connection = Connection(
        asyncio.get_running_loop(), on_push=None, heartbeat=False, latency=Histogram(), limits=Limits()
    )
    connection.connection_made(Transport())
    connection.data_received(b"-ERR max number of clients reached\r\n")
    with pytest.raises(NotSent, match="the server refuses the connection: ERR max number of clients reached"):
        connection.issue((("HELLO", 3),))


async def test_an_error_later_on_is_not_the_reason_of_an_end() -> None:
    connection = Connection(
        asyncio.get_running_loop(), on_push=None, heartbeat=False, latency=Histogram(), limits=Limits()
    )
    connection.connection_made(Transport())
    refused = connection.issue((("SET", "k", "v"),))
    await asyncio.sleep(0)
    connection.data_received(b"-OOM command not allowed\r\n")
    later = connection.issue((("GET", "k"), ("GET", "k")))
    await asyncio.sleep(0)
    connection.data_received(b"_\r\n")
    connection.connection_lost(None)
    assert len(refused.result()) == 1
    with pytest.raises(ConnectionLost, match="the server closed the connection"):
        await later


async def test_a_hook_that_fails_ends_the_connection_and_not_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> None:
        raise TypeError("a hook's own")

    connection = Connection(
        asyncio.get_running_loop(), on_push=broken, heartbeat=False, latency=Histogram(), limits=Limits()
    )
    connection.connection_made(Transport())
    first, second = connection.issue((("GET", "k"),), broken), connection.issue((("GET", "k"),))
    await asyncio.sleep(0)
    connection.data_received(b"_\r\n_\r\n")
    assert isinstance(second.exception(), ConnectionLost)
    assert isinstance(first.exception(), ConnectionLost)
    assert "a hook's own" in caplog.text


class Transport(asyncio.Transport):
    """A socket that takes everything."""

    def write(self, data: Any) -> None:
        pass

    def abort(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


def test_every_command_that_is_sent_has_a_shape() -> None:
    sent = {
        one.partition("|")[0].upper() for one in _CONNECTION | _CACHES | _SESSIONS | COMMANDS | DECLARATIONS.commands
    }
    assert sent - set(SHAPES) == {"EVALSHA"}
    scripts: tuple[Script, ...] = (
        *lease.SCRIPTS,
        *drops.SCRIPTS,
        *groups.SCRIPTS,
        *keyspace_drops.SCRIPTS,
        INCREMENT,
        COMPARE_AND_SET,
        LEAD,
        *sessions.SCRIPTS,
        *accounts.SCRIPTS,
    )
    assert [one for one in scripts if one.reply is ANYTHING] == []
    named = {path.stem for path in (Path(lease.__file__).parents[1] / "engine" / "lua").glob("*.lua")}
    assert len(scripts) == len(named - {"lease_holds", "text", "timestamp"})
