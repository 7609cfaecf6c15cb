"""Which slot a key has, by the server's own reckoning."""

from __future__ import annotations

from greenroom.engine.protocol.hash_slot import slot_of
from tests.support.real_cluster import Cluster


def test_a_key_has_the_slot_that_the_server_gives_it(steady: Cluster) -> None:
    keys = ["", "a", "user:{42}:x", "{}x", "a{}b", "a{b}c}", "a{{b}}c", "a}b", "}{", "{a}{b}", "{", "é{ü}", "x{y"]
    keys += [f"cache:topic:{number}" for number in range(200)]
    raw = steady.primaries[0].raw()
    assert [slot_of(key) for key in keys] == [raw("CLUSTER", "KEYSLOT", key) for key in keys]
