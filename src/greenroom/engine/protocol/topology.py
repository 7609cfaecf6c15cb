"""Who owns what in a cluster, as one of its nodes tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from greenroom.engine.protocol.hash_slot import SLOTS
from greenroom.engine.protocol.info import fields
from greenroom.errors import EngineUnavailable

Endpoint = tuple[str, int]
"""Host and port of a node."""

QUESTION = (("CLUSTER", "INFO"), ("CLUSTER", "SHARDS"))
"""What a node is asked; `parse` reads both replies."""
_NO_HOST = frozenset({b"", b"?", None})
"""What stands for a host that a node does not know, or does not tell: it is to be reached where it was asked."""


@dataclass(frozen=True, slots=True)
class Topology:
    """One node's view.

    Arguments:
        ranges: (first slot, last slot, owner) of every range whose owner is reachable in that node's eyes.
        primaries: all of them, those without slots too.
        nodes: every node, replicas too.
        replicas: those of each primary that are reachable in that node's eyes.
        unheard: replicas of which that node has not heard yet how far they have come. They may load, or have come far
            in the eyes of others: a node may hear of a replica half a node timeout later than the next node.
        epoch: the cluster's epoch as far as that node knows: of two views the one with the lower epoch is the older.
    """

    ranges: tuple[tuple[int, int, Endpoint], ...]
    primaries: frozenset[Endpoint]
    nodes: frozenset[Endpoint]
    replicas: Mapping[Endpoint, tuple[Endpoint, ...]]
    unheard: frozenset[Endpoint]
    epoch: int


def parse(replies: list[Any], asked: Endpoint, *, tls: bool = False) -> Topology:
    """Read the replies to `QUESTION`.

    Arguments:
        asked: the node that has answered.
        tls: whether nodes are reached by their port for TLS.

    Raises:
        EngineUnavailable: when they are no answer to it.
    """
    info, shards = replies
    try:
        epoch = int(fields(info)["cluster_current_epoch"])
        ranges: list[tuple[int, int, Endpoint]] = []
        primaries, nodes, unheard = set[Endpoint](), set[Endpoint](), set[Endpoint]()
        replicas: dict[Endpoint, tuple[Endpoint, ...]] = {}
        for shard in shards:
            slots = shard[b"slots"]
            primary: Endpoint | None = None
            following: list[Endpoint] = []
            for node in shard[b"nodes"]:
                endpoint = _endpoint(node, asked, tls)
                nodes.add(endpoint)
                # Who has failed in that node's eyes owns nothing new: a successor is on its way, or nobody is.
                if node[b"health"] != b"online":
                    if node[b"role"] != b"master" and node[b"health"] == b"loading":
                        unheard.add(endpoint)
                    continue
                if node[b"role"] != b"master":
                    following.append(endpoint)
                    continue
                primary = endpoint
                primaries.add(endpoint)
                ranges.extend(
                    (*_range(first, last), endpoint) for first, last in zip(slots[::2], slots[1::2], strict=True)
                )
            if primary is not None:
                replicas[primary] = tuple(following)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise EngineUnavailable("the reply is not a view of a cluster") from None
    return Topology(tuple(ranges), frozenset(primaries), frozenset(nodes), replicas, frozenset(unheard), epoch)


def _range(first: int, last: int) -> tuple[int, int]:
    if not 0 <= first <= last < SLOTS:
        raise ValueError("no slots of a cluster")
    return first, last


def _endpoint(node: dict[bytes, Any], asked: Endpoint, tls: bool) -> Endpoint:
    host = next((one for one in (node.get(b"endpoint"), node.get(b"ip")) if one not in _NO_HOST), None)
    port = node[b"tls-port"] if tls and b"tls-port" in node else node[b"port"]
    if not 0 < int(port) < 65536:
        raise ValueError("no port")
    return host.decode() if host is not None else asked[0], int(port)
