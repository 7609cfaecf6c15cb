"""Who owns what, as a node tells it; where a key belongs; what becomes of commands that are turned away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from greenroom.clock import SYSTEM
from greenroom.counters import Counters
from greenroom.engine import Address, Limits
from greenroom.engine.cluster.discovery import Discovery
from greenroom.engine.commands import Command
from greenroom.engine.protocol.errors import Ask, Moved, NotNow, reply_error
from greenroom.engine.protocol.redirects import asking, hook_of, key_by_key, unasked
from greenroom.engine.protocol.topology import Topology, parse
from greenroom.engine.server.node import Node
from greenroom.errors import CommandFailed, EngineUnavailable, Overloaded

ASKED = ("10.0.0.9", 7009)


def info(epoch: int = 1) -> bytes:
    return b"cluster_state:ok\r\ncluster_current_epoch:%d\r\ncluster_my_epoch:1\r\n" % epoch


def node(port: int, role: str = "master", *, host: object = b"10.0.0.1", **more: object) -> dict[bytes, Any]:
    fields = {"endpoint": host, "ip": b"10.0.0.1", "port": port, "role": role.encode(), "health": b"online"} | more
    return {name.replace("_", "-").encode(): value for name, value in fields.items()}


def shard(slots: list[int], *nodes: dict[bytes, Any]) -> dict[bytes, Any]:
    return {b"slots": slots, b"nodes": list(nodes)}


def view(*shards: dict[bytes, Any], epoch: int = 1, tls: bool = False) -> Topology:
    return parse([info(epoch), list(shards)], ASKED, tls=tls)


def test_a_view_names_the_owner_of_every_range_and_all_nodes() -> None:
    found = view(
        shard([0, 5, 10, 10], node(7001), node(7002, "replica")), shard([6, 9], node(7003)), shard([], node(7004))
    )
    one, two, three, four = (("10.0.0.1", 7000 + number) for number in (1, 2, 3, 4))
    assert found.ranges == ((0, 5, one), (10, 10, one), (6, 9, three))
    assert found.primaries == {one, three, four}
    assert found.nodes == {one, two, three, four}
    assert found.epoch == 1


@pytest.mark.parametrize("health", [b"fail", b"loading"])
def test_who_is_not_online_owns_nothing(health: bytes) -> None:
    found = view(shard([0, 9], node(7001, health=health)))
    assert (found.ranges, found.primaries) == ((), frozenset())


@pytest.mark.parametrize("host", [None, b"", b"?"])
def test_a_node_that_does_not_tell_its_host_is_where_it_was_asked(host: bytes | None) -> None:
    assert view(shard([0, 0], node(7001, host=host, ip=b""))).ranges == ((0, 0, ("10.0.0.9", 7001)),)
    assert view(shard([0, 0], node(7001, host=host))).ranges == ((0, 0, ("10.0.0.1", 7001)),)


def test_with_tls_a_node_is_reached_at_its_port_for_it() -> None:
    one = shard([0, 0], node(7001, tls_port=7101))
    assert view(one).ranges[0][2] == ("10.0.0.1", 7001)
    assert view(one, tls=True).ranges[0][2] == ("10.0.0.1", 7101)


@pytest.mark.parametrize(
    "replies",
    [[b"", []], [info(), None], [info(), [{}]], [info(), [b"x"]], [info(), [shard([1], node(1))]], [None, []]],
    ids=repr,
)
def test_what_is_no_view_of_a_cluster_is_refused(replies: list[Any]) -> None:
    with pytest.raises(EngineUnavailable):
        parse(replies, ASKED)


# The question ----------------------------------------------------------------------------------------


class Says(Node):
    """A node that gives one view, and nothing else."""

    def __init__(self, epoch: int, number: int) -> None:
        self.address = Address((("10.0.0.1", number),))
        self._replies = [info(epoch), [shard([0, 16383], node(number))]]

    def send(self, *_: object) -> asyncio.Future[list[Any]]:
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        future.set_result(self._replies)
        return future


class Full(Says):
    """A node that may be sent nothing more."""

    def send(self, *_: object) -> asyncio.Future[list[Any]]:
        raise Overloaded("10000 commands are outstanding")


class Asked:
    """What is adopted when these nodes are asked."""

    def __init__(self) -> None:
        self.nodes: Sequence[Node] = ()
        self.adopted: list[tuple[int, int]] = []
        self.discovery = Discovery(
            Address((("127.0.0.1", 1),), cluster=True),
            nodes=lambda: self.nodes,
            adopt=lambda one: self.adopted.append((one.epoch, one.ranges[0][2][1])),
            whole=lambda: True,
            clock=SYSTEM,
            counters=Counters(),
            limits=Limits(),
        )

    async def ask(self, *nodes: Node) -> None:
        self.nodes = nodes
        await self.discovery._ask()


async def test_an_older_topology_is_not_taken_while_another_can_be_had() -> None:
    asked = Asked()
    await asked.ask(Says(7, 2))
    for _ in range(10):  # in any order
        await asked.ask(Says(6, 1), Says(7, 2))
    assert asked.adopted == [(7, 2)] * 11


async def test_where_every_view_is_older_the_cluster_has_begun_anew() -> None:
    asked = Asked()
    await asked.ask(Says(7, 2))
    await asked.ask(Says(1, 1), Says(3, 3), Says(2, 2))
    assert asked.adopted == [(7, 2), (3, 3)]
    await asked.ask(Says(3, 3))
    assert asked.adopted[-1] == (3, 3)


async def test_an_overloaded_node_does_not_block_the_others() -> None:
    asked = Asked()
    for _ in range(10):  # in any order
        await asked.ask(Full(7, 1), Says(7, 2))
    assert asked.adopted == [(7, 2)] * 10


async def test_when_nobody_can_be_asked_that_says_so() -> None:
    asked = Asked()
    with pytest.raises(EngineUnavailable, match="no node of"):
        await asked.ask()
    assert asked.adopted == []


# Slots and redirections ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "host", "port"),
    [
        ("MOVED 3999 127.0.0.1:6381", Moved, "127.0.0.1", 6381),
        ("MOVED 3999 :6381", Moved, "", 6381),
        ("ASK 3999 node.example:6381", Ask, "node.example", 6381),
        ("ASK 3999 ::1:6381", Ask, "::1", 6381),
    ],
)
def test_a_redirection_tells_where_to_go(text: str, kind: type, host: str, port: int) -> None:
    error = reply_error(text)
    assert type(error) is kind
    assert isinstance(error, Moved | Ask)
    assert (error.slot, error.host, error.port) == (3999, host, port)
    assert not isinstance(error, NotNow)  # asking the same server again is in vain


def test_a_redirection_that_cannot_be_read_is_an_error_like_others() -> None:
    assert type(reply_error("MOVED to nowhere")) is CommandFailed
    assert type(reply_error("ASK")) is CommandFailed


def test_only_what_deletes_several_keys_is_done_key_by_key() -> None:
    commands: tuple[Command, ...] = (("DEL", "l", "k", "a"), ("GET", "k"), ("MGET", "k", "l"))
    assert key_by_key(commands) == (("DEL", "l"), ("DEL", "k"), ("DEL", "a"), ("GET", "k"), ("MGET", "k", "l"))


def test_each_command_is_asked_for_and_a_hook_sees_its_own_replies() -> None:
    assert asking((("PTTL", "k"), ("GET", "k"))) == (("ASKING",), ("PTTL", "k"), ("ASKING",), ("GET", "k"))
    seen: list[Any] = []

    def hook(replies: list[Any], source: Any) -> None:
        seen.append((list(replies), source))

    replies: list[Any] = [b"OK", 1, b"OK", b"v"]
    wrapped = hook_of(hook)
    assert wrapped is not None
    wrapped(replies, "source")
    assert seen == [([1, b"v"], "source")]
    assert unasked(replies) == [1, b"v"]
    assert hook_of(None) is None
