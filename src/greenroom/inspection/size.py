"""`greenroom size`: the memory of each declared pattern, by a sample, and whose keys the rest are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from itertools import islice
from math import sqrt

import msgspec

from greenroom.clock import SYSTEM
from greenroom.engine import Address
from greenroom.engine.operator import OperatorConnection, Pace, find_shards, looking
from greenroom.findings import Finding, warning
from greenroom.inspection.keys import KeyIndex, KeyKind
from greenroom.inspection.sampling import Bounds, Name, Sample, survey
from greenroom.inspection.stored import TOGETHER

SURE = 1.96
"""Standard errors on each side, between which the true sum lies 19 times of 20."""
HEADROOM = 1.3
"""A server needs more than its keys: for buffers, replication, fragments and what grows until somebody looks."""
BIGGEST = 10
MANY = 0.1
"""The part of all keys from which those of nobody are warned of."""
LIFETIMES = ((60, "1 min"), (300, "5 min"), (1800, "30 min"), (3600, "1 h"), (21_600, "6 h"))
"""Where the bars of the lifetimes end, in seconds."""
LONGER, NEVER = "longer", "none"


class BigKey(msgspec.Struct, frozen=True, order=True):
    """A key and the bytes that it takes."""

    bytes: int
    key: str


class Size(msgspec.Struct, kw_only=True):
    """What the keys of one kind take.

    Arguments:
        name: the keyspace, the use, or of nobody's keys what they begin with.
        kind: see `KeyKind`.
        keys: how many there are; reckoned from the part that was looked through.
        sampled: how many were measured.
        bytes: of all of them, reckoned from those.
        low: the same, less what it may be wrong by, 19 times of 20.
        high: the same, more.
        lifetimes: of the sample: how many have at most so long left.
        biggest: of the sample.
    """

    name: str
    kind: str
    keys: int = 0
    sampled: int = 0
    bytes: int = 0
    low: int = 0
    high: int = 0
    lifetimes: dict[str, int] = msgspec.field(default_factory=dict)
    biggest: list[BigKey] = msgspec.field(default_factory=list)


class ServerSize(msgspec.Struct, kw_only=True):
    """A server's memory.

    Arguments:
        used: bytes that it uses.
        bound: its maxmemory; 0 where it has none.
        projected: the maxmemory that these keys need, with room to spare.
    """

    address: str
    at_replica: bool
    keys: int
    looked: int
    used: int
    bound: int
    projected: int
    sizes: list[Size]

    @property
    def of_nobody(self) -> int:
        """Keys that no declaration makes."""
        return sum(one.keys for one in self.sizes if one.kind in (KeyKind.NOBODY.value, KeyKind.STRAY.value))


@dataclass(slots=True)
class Measure:
    """Measures servers.

    Arguments:
        times: how many times as many keys the projection is for.
    """

    index: KeyIndex
    bounds: Bounds
    pace: Pace
    times: float = 1.0
    random: Callable[[], float] = SYSTEM.random
    servers: list[ServerSize] = field(default_factory=list)

    async def run(self, addresses: Iterable[Address]) -> list[Finding]:
        """Measure, and return what is to be said of it.

        Raises:
            EngineError: when a server cannot be asked, or refuses.
        """
        for address in addresses:
            for shard in await find_shards(address):
                async with looking(shard, at_replica=True, pace=self.pace) as look:
                    self.servers.append(await self._measured(look))
        return [finding for server in self.servers for finding in findings(server, self.times)]

    async def _measured(self, look: OperatorConnection) -> ServerSize:
        seen = await survey(look, self.index, self.bounds, self.random)
        sizes = [await self._size(look, name, sample, seen.share) for name, sample in seen.samples.items()]
        async with looking(look.shard, pace=self.pace) as primary:  # a replica may be set otherwise
            info = await primary.info("memory")
        used, bound = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
        total = sum(one.bytes for one in sizes)
        fixed = max(0, used - total)  # what is no key: clients, replication, scripts
        return ServerSize(
            address=str(look.address),
            at_replica=look.at_replica,
            keys=seen.total,
            looked=seen.looked,
            used=used,
            bound=bound,
            projected=int(HEADROOM * (fixed + total * self.times)),
            sizes=sorted(sizes, key=lambda one: -one.bytes),
        )

    async def _size(self, look: OperatorConnection, name: Name, sample: Sample, share: float) -> Size:
        kind, called = name
        keys = list(dict.fromkeys(sample.keys))
        measured: list[BigKey] = []
        lifetimes: Counter[str] = Counter()
        remaining = iter(keys)
        while some := list(islice(remaining, TOGETHER)):
            commands = [one for key in some for one in (("MEMORY", "USAGE", key), ("PTTL", key))]
            replies = await look.replies(*commands)
            for key, used, left in zip(some, replies[::2], replies[1::2], strict=True):
                if isinstance(used, int) and isinstance(left, int):  # else it has gone meanwhile
                    measured.append(BigKey(used, key))
                    lifetimes[lifetime(left)] += 1
        number = round(sample.found / share)
        total, off = reckoned([one.bytes for one in measured], number)
        return Size(
            name=called,
            kind=kind.value,
            keys=number,
            sampled=len(measured),
            bytes=round(total),
            low=max(0, round(total - off)),
            high=round(total + off),
            lifetimes={name: lifetimes[name] for name in _bars() if lifetimes[name]},
            biggest=nlargest(BIGGEST, measured),
        )


def reckoned(sample: Sequence[int], number: int) -> tuple[float, float]:
    """The sum over `number` keys of which some were measured, and by how much it may be wrong, 19 times of 20."""
    measured = len(sample)
    if not measured:
        return 0.0, 0.0
    mean = sum(sample) / measured
    if measured >= number:
        return mean * number, 0.0
    spread = sqrt(sum((one - mean) ** 2 for one in sample) / max(1, measured - 1))
    return mean * number, SURE * spread / sqrt(measured) * number * sqrt(1 - measured / number)


def lifetime(left_ms: int) -> str:
    """The bar of a key that has so many milliseconds left; below zero it never expires."""
    if left_ms < 0:
        return NEVER
    return next((name for seconds, name in LIFETIMES if left_ms <= seconds * 1000), LONGER)


def _bars() -> Iterator[str]:
    yield from (name for _, name in LIFETIMES)
    yield LONGER
    yield NEVER


def findings(server: ServerSize, times: float) -> Iterator[Finding]:
    """What is to be said of a server's memory."""
    if server.bound and server.projected > server.bound:
        of = "its keys" if times == 1 else f"{times:g} times its keys"
        what = f"{server.address} has maxmemory {server.bound:,}, and {of} need about {server.projected:,}"
        why = "when it is full it evicts, or stores nothing more"
        yield warning("too_small", what, why, f"valkey-cli CONFIG SET maxmemory {server.projected}")
    if server.keys and server.of_nobody > MANY * server.keys:
        families = [one.name or "(no colon)" for one in server.sizes if one.kind == KeyKind.NOBODY.value]
        what = f"{server.of_nobody:,} of {server.keys:,} keys at {server.address} are of no declaration"
        why = f"they take memory that nobody answers for; they begin like {', '.join(families[:5]) or 'declared keys'}"
        mend = "declare them (`--keyspaces`), give that program a server of its own, or delete them"
        yield warning("keys_of_nobody", what, why, mend)
