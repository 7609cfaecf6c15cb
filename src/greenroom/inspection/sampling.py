"""What keys a server has, by a bounded look through its table, and a fair sample of each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from greenroom.engine.operator import OperatorConnection
from greenroom.engine.scan import COUNT
from greenroom.inspection.keys import KeyIndex, KeyKind

Name = tuple[KeyKind, str]
"""A kind of key, and of which keyspace or for what use."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a look goes.

    Arguments:
        keys: of each server, that are looked through.
        sample: keys of each kind and keyspace that are looked at closely.
    """

    keys: int = 100_000
    sample: int = 200


@dataclass(slots=True)
class Sample:
    """Some keys out of many, each as likely as any other (Vitter's algorithm R)."""

    size: int
    found: int = 0
    """Keys that were offered."""
    keys: list[str] = field(default_factory=list)

    def offer(self, key: str, random: Callable[[], float]) -> None:
        """One more key; with luck it is taken, and another goes."""
        self.found += 1
        if len(self.keys) < self.size:
            self.keys.append(key)
        elif (place := int(random() * self.found)) < self.size:
            self.keys[place] = key


@dataclass(slots=True)
class Survey:
    """What a server has.

    Arguments:
        total: keys that it says it has.
        looked: those that were looked through.
        whole: whether those were all.
    """

    total: int
    looked: int = 0
    whole: bool = False
    samples: dict[Name, Sample] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """The part of its keys that was looked through."""
        return 1.0 if self.whole or not self.total else min(1.0, self.looked / self.total)

    def of(self, kind: KeyKind) -> Iterator[tuple[str, list[str]]]:
        """The keys of a kind in the sample, by their keyspaces or uses; a key that was met twice is there once."""
        for (found, name), sample in self.samples.items():
            if found is kind:
                yield name, list(dict.fromkeys(sample.keys))


async def survey(look: OperatorConnection, index: KeyIndex, bounds: Bounds, random: Callable[[], float]) -> Survey:
    """OperatorConnection through a server's keys; a key that comes or goes meanwhile may be missed.

    Raises:
        EngineError: when it cannot be asked, or refuses.
    """
    found = Survey(total=await look.ask("DBSIZE"))
    cursor: bytes | int = 0
    while found.looked < bounds.keys:
        cursor, keys = await look.ask("SCAN", cursor, "COUNT", min(COUNT, bounds.keys))
        for raw in keys:
            key = raw.decode("utf-8", "replace")
            owner = index.owner(key)
            name = owner.kind, owner.use or (owner.keyspace.name if owner.keyspace is not None else _family(key))
            sample = found.samples.get(name)
            if sample is None:
                sample = found.samples[name] = Sample(bounds.sample)
            sample.offer(key, random)
        found.looked += len(keys)
        if cursor == b"0":
            found.whole = True
            break
    return found


def _family(key: str) -> str:
    """What a key of nobody begins with; a key without a colon is of the family without a name."""
    head, colon, _ = key.partition(":")
    return head[:40] if colon else ""
