"""Real clusters for tests: three primaries, a replica of each, and what an operator does to them."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from tests.support.patience import wait_for
from tests.support.real_servers import Raw, Server, free_port

SLOTS = 16384
FORMED = 30.0
"""Seconds for gossip to settle; a server takes two to believe in its cluster, more on a busy machine."""
LOOK = 0.025
"""Seconds between two looks at what takes seconds: each is a connection to every node, and work for both ends."""
_TOGETHER: dict[str, Callable[[list[Any]], Any]] = {
    "INFO": b"\r\n".join,
    "KEYS": lambda replies: [key for keys in replies for key in keys],
    "DBSIZE": sum,
}
"""What the replies of all primaries make together, of commands without a key."""
_ONE_IS_ENOUGH = frozenset({"PING", "FLUSHALL", "CONFIG", "CLIENT", "SCRIPT", "ACL", "TIME"})


def slot_of(key: str) -> int:
    """A key's slot, as the cluster specification computes it."""
    start = key.find("{")
    end = key.find("}", start + 1)
    tag = key[start + 1 : end] if start >= 0 and end > start + 1 else key
    return crc_hqx(tag.encode(), 0) % SLOTS


class Member(Server):
    """One node.

    Arguments:
        timeout: milliseconds after which the others give a silent node up.
    """

    def __init__(self, binary: str, directory: Path, timeout: int, *options: str) -> None:
        super().__init__(binary, directory, *options)
        self._timeout = timeout
        self._bus = free_port()

    def spawn(self, *options: str) -> None:
        """Start it, with more options for this once; returns at once."""
        cluster = ["--cluster-enabled", "yes", "--cluster-config-file", f"{self.port}.nodes"]
        bus = ["--cluster-port", str(self._bus), "--cluster-node-timeout", str(self._timeout)]
        # A replica that has not heard its primary for long may take its place all the same: nothing here is that old.
        takeover = ["--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"]
        # Who gives its last slot away stays a primary.
        stay = ["--cluster-allow-replica-migration", "no"]
        super().spawn(*cluster, *bus, *takeover, *stay, *options)

    def _choose_ports(self) -> None:
        super()._choose_ports()
        self._bus = free_port()

    def __call__(self, *command: str | bytes | int) -> Any:
        """Send a command over a connection of its own and return its reply."""
        raw = self.raw()
        try:
            return raw(*command)
        finally:
            raw.close()

    def ok(self, *command: str | bytes | int) -> None:
        """Send a command that must be answered with OK."""
        reply = self(*command)
        assert reply == b"OK", (command, reply)

    @property
    def name(self) -> str:
        """Its id in the cluster."""
        return str(self("CLUSTER", "MYID").decode())

    @property
    def info(self) -> dict[str, str]:
        """`CLUSTER INFO`."""
        return _fields(self("CLUSTER", "INFO"))

    @property
    def role(self) -> str:
        """`master` or `slave`."""
        return _fields(self("INFO", "replication"))["role"]

    @property
    def synced(self) -> bool:
        """Whether it follows its primary."""
        return _fields(self("INFO", "replication")).get("master_link_status") == "up"

    def shard(self) -> list[tuple[str, int, list[int]]]:
        """Its view: (role, port, slots) of every node."""
        found = []
        for flat in self("CLUSTER", "SHARDS"):
            one = _pairs(flat)
            for node in map(_pairs, one["nodes"]):
                found.append((node["role"].decode(), node["port"], one["slots"]))
        return found

    def owns(self, slot: int) -> bool:
        """Whether it says that it owns a slot."""
        mine = (slots for role, port, slots in self.shard() if role == "master" and port == self.port)
        return any(_holds(slots, slot) for slots in mine)

    def keys(self, number: int) -> list[str]:
        """So many keys that it owns; fewer where it has no slots."""
        mine = [slots for role, port, slots in self.shard() if role == "master" and port == self.port]
        names = (f"k{n}" for n in range(10**6 if any(mine) else 0))
        return list(islice((name for name in names if any(_holds(slots, slot_of(name)) for slots in mine)), number))

    def replicated(self) -> bool:
        """Whether, after nine seconds at most, a replica has all that it has acknowledged until now."""
        raw = self.raw()
        try:
            # WAIT is for what the same connection has written before.
            written = [raw("SET", key, "", "PX", 1) for key in self.keys(1)]
            followed = raw("WAIT", 1, 9000)
            # Who is made a replica meanwhile ends the wait with an error.
            return written == [b"OK"] and isinstance(followed, int) and followed >= 1
        finally:
            raw.close()

    def meet(self, other: Member) -> None:
        """Join the cluster of another."""
        self.ok("CLUSTER", "MEET", "127.0.0.1", other.port, other._bus)

    def knows(self, *others: Member) -> bool:
        """Whether it has shaken hands with all of these."""
        nodes = self("CLUSTER", "NODES").decode()
        lines = [line for line in nodes.splitlines() if "handshake" not in line]
        return all(any(f":{other.port}@" in line for line in lines) for other in others)


class Cluster:
    """Three primaries with a third of the slots each, and a replica of each.

    Arguments:
        timeout: milliseconds after which a silent node is given up.
    """

    def __init__(self, binary: str, directory: Path, *, timeout: int = 1000) -> None:
        self._binary = binary
        self._directory = directory
        self._timeout = timeout
        self.primaries = [self._member() for _ in range(3)]
        """Those that began as primaries."""
        self.replicas = [self._member() for _ in range(3)]
        """Those that began as replicas, of the primary at the same place."""
        self._others: list[Member] = []

    @property
    def address(self) -> str:
        """The address of a client that knows the first primaries."""
        return "valkey+cluster://" + ",".join(f"127.0.0.1:{one.port}" for one in self.primaries)

    @property
    def members(self) -> list[Member]:
        """Every node that runs."""
        return [one for one in (*self.primaries, *self.replicas, *self._others) if one.process is not None]

    def start(self) -> None:
        """Start it and return when every node agrees on it."""
        for one in (*self.primaries, *self.replicas):
            one.start()
        for number, one in enumerate(self.primaries):
            first, last = _third(number)
            one.ok("CLUSTER", "ADDSLOTSRANGE", first, last)
            one.ok("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for one in self.members[1:]:
            one.meet(self.primaries[0])
        for replica, primary in zip(self.replicas, self.primaries, strict=True):
            self.follow(replica, primary)
        self.settle()

    def stop(self) -> None:
        """End it as a crash would."""
        for one in self.members:
            one.kill()

    def settle(self) -> None:
        """Return when every node that runs says that the cluster is whole, and every replica follows."""
        for one in self.members:
            wait_for(lambda one=one: one.info["cluster_state"] == "ok", FORMED, every=LOOK)
            wait_for(lambda one=one: one.role == "master" or one.synced, FORMED, every=LOOK)
        wait_for(self._agreed, FORMED, every=LOOK)

    def _agreed(self) -> bool:
        views = []
        for one in self.members:
            masters = [(port, slots) for role, port, slots in one.shard() if role == "master" and slots]
            views.append(sorted(masters))
        return all(view == views[0] for view in views)

    def follow(self, replica: Member, primary: Member) -> None:
        """Make a node a replica."""
        wait_for(lambda: replica.knows(primary), FORMED, every=LOOK)
        replies: list[Any] = []

        def follows() -> bool:
            replies[:] = [replica("CLUSTER", "REPLICATE", primary.name)]
            return replies == [b"OK"]

        try:
            wait_for(follows, FORMED, every=LOOK)
        except AssertionError as error:
            error.add_note(f"{replies}: {primary.name} in\n{replica('CLUSTER', 'NODES').decode()}")
            raise

    # Who has what ----------------------------------------------------------------------------------

    def owner(self, key: str | int) -> Member:
        """The node that owns a key, or a slot, as it says itself."""
        slot = slot_of(key) if isinstance(key, str) else key
        for one in self.members:
            if one.owns(slot):
                return one
        raise AssertionError(f"nobody owns {key}")

    def replica_of(self, primary: Member) -> Member:
        """A replica of a node."""
        name = primary.name
        for one in self.members:
            mine = next(line for line in one("CLUSTER", "NODES").decode().splitlines() if "myself" in line)
            if mine.split()[3] == name:
                return one
        raise AssertionError("it has no replica")

    def another(self, *not_these: Member) -> Member:
        """A primary that is none of these."""
        return next(one for one in self.members if one not in not_these and one.role == "master")

    def fresh(self) -> None:
        """Make it as if nobody had used it."""
        for one in self.members:
            if one.role == "master":
                one.ok("FLUSHALL")
                one.ok("CONFIG", "SET", "maxmemory", 0, "maxmemory-policy", "noeviction", "min-replicas-to-write", 0)
                one.ok("CONFIG", "RESETSTAT")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop every node without closing its connections."""
        with ExitStack() as stack:
            for one in self.members:
                stack.enter_context(one.frozen())
            yield

    def raw(self) -> Routed:
        """A client that goes to whoever owns a command's key."""
        return Routed(self)

    # What an operator does -------------------------------------------------------------------------

    def fail_over(self, primary: Member, *how: str) -> Member:
        """Put a replica in a primary's place, as planned; returns it."""
        replica = self.replica_of(primary)
        replica.ok("CLUSTER", "FAILOVER", *how)
        wait_for(lambda: replica.role == "master", FORMED)
        return replica

    def add(self) -> Member:
        """A new primary without slots."""
        new = self._member()
        new.start()
        self._others.append(new)
        new.meet(self.members[0])
        # What it does not know of it redirects to nobody.
        wait_for(lambda: all(one.knows(new) for one in self.members if one is not new), FORMED)
        wait_for(lambda: new.knows(*(one for one in self.members if one is not new)), FORMED)
        wait_for(lambda: new.info["cluster_state"] == "ok", FORMED)
        return new

    def remove(self, gone: Member) -> None:
        """Take a node without slots out and end it."""
        name = gone.name
        gone.kill()
        for one in self.members:
            one("CLUSTER", "FORGET", name)

    def restart(self, member: Member, *options: str) -> None:
        """Start a node that was ended: without data, and with its place in the cluster."""
        member.spawn(*options)
        wait_for(member._answers, FORMED)

    def migrate(self, slot: int, target: Member) -> None:
        """Move a slot the classic way: key by key."""
        source = self.owner(slot)
        self.begin_migration(slot, target)
        while keys := source("CLUSTER", "GETKEYSINSLOT", slot, 100):
            for key in keys:
                self.move_key(source, target, key)
        self.end_migration(slot, source, target)

    def begin_migration(self, slot: int, target: Member) -> None:
        """From now on the owner sends who asks for a key that it does not have to `target`."""
        source = self.owner(slot)
        target.ok("CLUSTER", "SETSLOT", slot, "IMPORTING", source.name)
        source.ok("CLUSTER", "SETSLOT", slot, "MIGRATING", target.name)

    def move_key(self, source: Member, target: Member, *keys: str | bytes) -> None:
        """Move keys of a slot that is under way."""
        source("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)

    def abandon_migration(self, source: Member, target: Member, *keys: str) -> None:
        """Let the slot stay with its owner, and bring back what has moved."""
        slot = slot_of(keys[0])
        source.ok("CLUSTER", "SETSLOT", slot, "STABLE")  # first: it takes no key while the slot leaves it
        target.ok("MIGRATE", "127.0.0.1", source.port, "", 0, 5000, "KEYS", *keys)
        target.ok("CLUSTER", "SETSLOT", slot, "STABLE")

    def end_migration(self, slot: int, source: Member, target: Member) -> None:
        """Give the slot to `target`; every node learns of it."""
        name = target.name
        for one in (target, source, *self.members):
            if one.role == "master":
                one.ok("CLUSTER", "SETSLOT", slot, "NODE", name)

    def move(self, slots: Sequence[int], target: Member) -> None:
        """Move slots at once, as Valkey 9 can."""
        source = self.owner(slots[0])
        ranges = [one for slot in slots for one in (slot, slot)]
        source.ok("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *ranges, "NODE", target.name)
        wait_for(lambda: target.owns(slots[0]), FORMED)

    def _member(self) -> Member:
        return Member(self._binary, self._directory, self._timeout)


class Routed:
    """A blocking client of a cluster; what has no key goes to every primary."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._links: dict[int, Raw] = {}
        self._owners: dict[int, Member] = {}

    def __call__(self, *command: str | bytes | int) -> Any:
        """Send a command and return its reply; an error reply is returned, not raised."""
        name = _text(command[0]).upper()
        if name in _TOGETHER or name in _ONE_IS_ENOUGH or (name == "EVAL" and command[2] == 0):
            replies = [self._link(one)(*command) for one in self._cluster.members if self._is_primary(one)]
            return _TOGETHER[name](replies) if name in _TOGETHER else replies[0]
        slot = slot_of(_text(command[3 if name.startswith("EVAL") else 1]))
        owner = self._owners.get(slot)
        if owner not in self._cluster.members:
            owner = self._cluster.owner(slot)
        reply = self._link(owner)(*command)
        if str(reply).startswith("MOVED "):
            owner = self._at(reply)
            reply = self._link(owner)(*command)
        self._owners[slot] = owner
        if str(reply).startswith("ASK "):
            target = self._at(reply)
            self._link(target)("ASKING")
            return self._link(target)(*command)
        return reply

    def close(self) -> None:
        """Close every connection."""
        for link in self._links.values():
            link.close()

    def _is_primary(self, member: Member) -> bool:
        return b"role:master" in self._link(member)("INFO", "replication")

    def _at(self, redirection: Any) -> Member:
        port = int(str(redirection).rpartition(":")[2])
        return next(one for one in self._cluster.members if one.port == port)

    def _link(self, member: Member) -> Raw:
        if member.port not in self._links:
            self._links[member.port] = member.raw()
        return self._links[member.port]


def _text(word: str | bytes | int) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)


def _third(number: int) -> tuple[int, int]:
    return SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1


def _holds(slots: list[int], slot: int) -> bool:
    return any(first <= slot <= last for first, last in zip(slots[::2], slots[1::2], strict=True))


def _pairs(flat: list[Any]) -> dict[str, Any]:
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _fields(text: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in text.decode().splitlines())
    return {name: value for name, _, value in lines}
