"""Each script over each of its keys, where another program has put something of another type there.

No WRONGTYPE reaches a caller: what stands there is passed over, or replaced by what the script writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any, NamedTuple

import pytest

from greenroom.caching.drops import DROP
from greenroom.caching.groups import FORGET, MEMBERS, REGISTER
from greenroom.caching.keyspace_drops import GENERATION
from greenroom.caching.lease import FILL, FILL_ABSENCE, GET_OR_LEASE, READ_BACK, RENEW
from greenroom.caching.releases import RELEASE
from greenroom.caching.store_tier import COMPARE_AND_SET, INCREMENT
from greenroom.engine.scripts import Script
from greenroom.rate_limit import ATTEMPT
from greenroom.sessions.index import SET_ADD, SET_MEMBERS
from greenroom.sessions.store import CHANGE, CLAIM, END, START
from greenroom_platform.domain.leadership import LEAD
from tests.support.real_servers import Raw, Server

Command = tuple[str | bytes | int, ...]

FOREIGN: dict[str, Command] = {
    "string": ("SET", "", "a"),
    "hash": ("HSET", "", "a", "b"),
    "list": ("RPUSH", "", "a"),
    "set": ("SADD", "", "a"),
    "zset": ("ZADD", "", 1, "a"),
    "stream": ("XADD", "", "*", "a", "b"),
}
OURS, JSON, TIME = "a" * 32, '{"a":1}', "2026-03-01T12:00:00.000000Z"
LEASE = f"{OURS}:"


class Key(NamedTuple):
    name: str
    kind: str
    text: Command
    """What stands there as a rule, after the key."""


class Case(NamedTuple):
    script: Script
    keys: tuple[Key, ...]
    args: tuple[str | bytes | int, ...]


def string(name: str, text: str) -> Key:
    return Key(name, "string", (text, "PX", 60_000))


def scored(name: str) -> Key:
    return Key(name, "zset", (5, "p1"))


CACHED = (string("k", JSON), string("lease:{k}", LEASE), string("absent:{k}", "1"))
SESSION, LIFE, TOUCHED = string("{s}", JSON), string("life:{s}", TIME), string("touched:{s}", "+60000")
GRACE, ENDED, STREAMS = string("grace:{s}", JSON), string("ended:{s}", "by 60000 " + TIME), scored("streams:{s}")
DROPPED = "1700000000000000-0a"
MARKED = (
    string("k", JSON),
    string("lease:{k}", f"{LEASE}:{DROPPED}"),
    string("absent:{k}", DROPPED),
    string("mark:{k}", DROPPED),
)
CASES = {
    "attempt": Case(ATTEMPT, (Key("attempts", "list", (1,)),), (1, 60_000)),
    "drop": Case(DROP, CACHED[:1], ("",)),
    "fill": Case(FILL, CACHED, (OURS, "new", 60_000)),
    "fill_absence": Case(FILL_ABSENCE, CACHED, (OURS, 30_000)),
    "generation": Case(GENERATION, (string("generation", DROPPED),), (DROPPED, "0b")),
    "get_or_lease": Case(GET_OR_LEASE, CACHED, (OURS, 50_000, "")),
    "group_forget": Case(FORGET, (scored("group"),), (1_000, "5", "p1")),
    "group_members": Case(MEMBERS, (scored("group"),), ()),
    "group_register": Case(REGISTER, (scored("group"),), ("p1",)),
    "lead": Case(LEAD, (string("leader", "b" * 32),), (OURS, 1_000)),
    "read_back": Case(READ_BACK, CACHED[:1], ("0" * 40,)),
    "release": Case(RELEASE, CACHED[1:2], (OURS, "", 0)),
    "renew": Case(RENEW, CACHED[1:2], (OURS, 1_000)),
    "expiring_set_add": Case(SET_ADD, (scored("roll"),), ("m", 60_000, 60_000)),
    "expiring_set_members": Case(SET_MEMBERS, (scored("roll"),), (60_000, "1")),
    "store_compare_and_set": Case(COMPARE_AND_SET, CACHED[:1], (JSON, "new", 60_000)),
    "store_increment": Case(INCREMENT, (string("n", "5"),), (1, 60_000, "1")),
    "session_change": Case(CHANGE, (SESSION, LIFE, TOUCHED), (JSON, '{"t":"', '"}', 60_000, 60_000, "w", "0")),
    "session_end": Case(END, (SESSION, LIFE, TOUCHED, GRACE, ENDED, STREAMS), ("by", 60_000, "any")),
    "session_start": Case(
        START, (SESSION, LIFE, TOUCHED, ENDED), ('{"t":"', '"}', 60_000, 60_000, 60_000, "", 0, 10**15, "1", "")
    ),
    "session_claim": Case(CLAIM, (SESSION, LIFE, TOUCHED, GRACE, ENDED, STREAMS), (JSON, "by", 60_000, 60_000)),
}
OF_A_DROPPED_KEYSPACE = {
    "fill marked": Case(FILL, MARKED, (OURS, "new", 60_000)),
    "get_or_lease marked": Case(GET_OR_LEASE, MARKED, (OURS, 50_000, "", DROPPED)),
}
KEYS = [
    pytest.param(case, at, kind, id=f"{name}-{key.name}-{kind}")
    for name, case in (CASES | OF_A_DROPPED_KEYSPACE).items()
    for at, key in enumerate(case.keys)
    for kind in FOREIGN
    if kind != key.kind
]


@pytest.fixture
def raw(server: Server) -> Iterator[Raw]:
    """A connection to the server."""
    connection = server.raw()
    yield connection
    connection.close()


def put(raw: Raw, key: Key) -> None:
    """Put there what stands there as a rule."""
    command = {"string": "SET", "list": "RPUSH", "zset": "ZADD"}[key.kind]
    assert not isinstance(raw(command, key.name, *key.text), Exception)


def put_foreign(raw: Raw, name: str, kind: str) -> None:
    """Put there what another program might, whatever was there."""
    raw("DEL", name)
    command, _, *rest = FOREIGN[kind]
    assert not isinstance(raw(command, name, *rest), Exception)


def run(raw: Raw, case: Case) -> Any:
    return raw("EVAL", case.script.source, len(case.keys), *(key.name for key in case.keys), *case.args)


def test_every_script_stands_here() -> None:
    there = {path.name.removesuffix(".lua") for path in files("greenroom.engine").joinpath("lua").iterdir()}
    assert there - {"lease_holds", "text", "timestamp"} == set(CASES)  # these are functions of the others


@pytest.mark.parametrize(("case", "at", "kind"), KEYS)
def test_no_key_of_another_type_is_an_error(raw: Raw, case: Case, at: int, kind: str) -> None:
    bad = case.keys[at]
    others = [key for key in case.keys if key is not bad]
    # Beside it all stands that may, or one thing alone, or nothing; and what is foreign lapses, or does not.
    for there in (others, *([one] for one in others), *([two for two in others if two is not one] for one in others)):
        for lapses in (True, False):
            raw("FLUSHALL")
            for key in there:
                put(raw, key)
            put_foreign(raw, bad.name, kind)
            if lapses:
                raw("PEXPIRE", bad.name, 60_000)
            for _ in range(2):  # the reply may be lost, and it is repeated
                reply = run(raw, case)
                assert not isinstance(reply, Exception), ([key.name for key in there], reply)
                assert raw("TYPE", bad.name).decode() in (kind, bad.kind, "none")


@pytest.mark.parametrize("kind", [kind for kind in FOREIGN if kind != "string"])
class TestWhatHolds:
    def test_a_lease_of_another_type_is_taken_and_filled(self, raw: Raw, kind: str) -> None:
        put_foreign(raw, "lease:{k}", kind)
        assert run(raw, CASES["get_or_lease"]) == [b"lead"]
        assert run(raw, CASES["fill"]) == 1
        assert raw("GET", "k") == b"new"

    def test_an_absence_of_another_type_hides_no_object(self, raw: Raw, kind: str) -> None:
        put_foreign(raw, "absent:{k}", kind)
        assert run(raw, CASES["get_or_lease"]) == [b"lead"]
        assert run(raw, CASES["fill_absence"]) == 1
        assert raw("GET", "absent:{k}") == b"1"

    def test_a_lease_of_another_type_is_nobodys(self, raw: Raw, kind: str) -> None:
        put_foreign(raw, "lease:{k}", kind)
        assert [run(raw, CASES[name]) for name in ("fill", "fill_absence", "renew", "release")] == [0, 0, 0, 0]
        assert raw("TYPE", "lease:{k}") == kind.encode()

    def test_an_end_replaces_a_tombstone_of_another_type(self, raw: Raw, kind: str) -> None:
        put(raw, SESSION)
        put(raw, LIFE)
        put_foreign(raw, ENDED.name, kind)
        assert run(raw, CASES["session_end"]) == 1
        assert raw("GET", ENDED.name) == b"by"

    def test_a_rotation_replaces_a_tombstone_of_another_type(self, raw: Raw, kind: str) -> None:
        put(raw, SESSION)
        put(raw, LIFE)
        put_foreign(raw, ENDED.name, kind)
        first = run(raw, CASES["session_claim"])
        assert first[0] == b"taken"
        assert run(raw, CASES["session_claim"]) == first, "the repetition is told the same"

    def test_a_session_is_written_whatever_stands_in_touched(self, raw: Raw, kind: str) -> None:
        put(raw, SESSION)
        put(raw, LIFE)
        put_foreign(raw, TOUCHED.name, kind)
        assert run(raw, CASES["session_change"])[0] == b"written"
        assert raw("GET", TOUCHED.name) == b"w"

    def test_a_life_of_another_type_is_no_life(self, raw: Raw, kind: str) -> None:
        for name in ("session_change", "session_claim"):
            put(raw, SESSION)
            put_foreign(raw, LIFE.name, kind)
            raw("PEXPIRE", LIFE.name, 60_000)
            assert run(raw, CASES[name]) == [b"gone"]


@pytest.mark.parametrize("lapse", [None, 61_000])
def test_attempts_that_do_not_lapse_in_time_keep_nobody_out(raw: Raw, lapse: int | None) -> None:
    put(raw, Key("attempts", "list", (9 * 10**15,)))
    if lapse is not None:
        raw("PEXPIRE", "attempts", lapse)
    assert run(raw, CASES["attempt"]) == 0
    assert 0 < run(raw, CASES["attempt"]) <= 60_000, "it counts"
