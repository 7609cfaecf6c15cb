"""A platform past these machines: 1,000 processes and 10,000 hot keys, simulated from measured costs of the lane.

    python -m bench.simulate [--processes N] [--keys N] [--seed N] [--picture FILE.svg] [--page FILE.md]

What is simulated is the protocol, not its code: who asks which primary when, and how long each waits there, since a
primary does one thing after another. The costs come from `bench.lane_costs`; the times of the reconnect and the survey
from `greenroom.engine.limits`. The same seed gives the same result.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from greenroom.engine.limits import Limits

LEASE = 1.0
RENEW = 0.3
"""Seconds that a lease lasts, and after which its holder renews it; see docs/guarantees.md."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured: microseconds of a primary's CPU, and seconds elsewhere.

    Arguments:
        get: a tracked GET of 1 KB.
        script: get_or_lease, fill, drop, renew.
        push: telling one more connection that a key has changed.
        connect: a connection with its handshake.
        shards: CLUSTER SHARDS for a cluster of three primaries; for each further one a third of it more.
        client: from the arrival of a push to the next command of that process.
        wire: one way between a process and a primary.
        spread: of the wire's time, in which packets come and processes are scheduled.
        load: a loader's own time.
        failover: from the death of a primary to the promotion of its replica.
    """

    get: float = 1.0
    script: float = 11.4
    push: float = 5.5
    connect: float = 38.0
    shards: float = 39.0
    client: float = 30e-6
    wire: float = 100e-6
    spread: float = 100e-6
    load: float = 0.110
    failover: float = 2.9


@dataclass(frozen=True, slots=True)
class Scene:
    """What is simulated."""

    processes: int = 1000
    keys: int = 10_000
    primaries: int = 3
    seed: int = 1
    costs: Costs = Costs()
    limits: Limits = Limits()


class Events:
    """What happens when, in the order of time; what was planned first goes first at one time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()

    def at(self, time: float, what: Callable[[], None]) -> None:
        """Plan something."""
        heapq.heappush(self._queue, (time, next(self._number), what))

    def run(self) -> None:
        """Let everything happen."""
        while self._queue:
            self.now, _, what = heapq.heappop(self._queue)
            what()


class Primary:
    """One server: it does one thing after another."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._free = 0.0
        self.busy = 0.0
        """Seconds of its CPU that were used."""
        self.longest_wait = 0.0

    def does(self, microseconds: float) -> float:
        """Do something that has arrived now; when it is done."""
        now = self._events.now
        self.longest_wait = max(self.longest_wait, self._free - now)
        self._free = max(now, self._free) + microseconds * 1e-6
        self.busy += microseconds * 1e-6
        return self._free


class Network:
    """How long a message takes, one way."""

    def __init__(self, costs: Costs, seed: random.Random) -> None:
        self._costs, self._random = costs, seed

    def time(self) -> float:
        """The next message's."""
        return self._costs.wire + self._random.expovariate(1 / self._costs.spread)


# One cold key ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cold:
    """What became of one key that every process misses within 10 ms."""

    loads: int
    last_after_fill: float
    commands: int
    busy: float


def cold_key(scene: Scene, *, load: float | None = None) -> Cold:
    """Every process misses one key: one leads, the others wait for its push; each renewal wakes them all once."""
    costs, events, chance = scene.costs, Events(), random.Random(scene.seed)
    network, primary = Network(costs, chance), Primary(events)
    load = costs.load if load is None else load
    holder = filled_at = None
    waiting: set[int] = set()
    done: list[float] = []
    loads = commands = 0

    def told(process: int, at: float) -> None:
        events.at(at + network.time() + costs.client, lambda: send(process))

    def send(process: int) -> None:
        events.at(events.now + network.time(), lambda: asked(process))

    def wake_all() -> None:
        """A write of the lease tells all who wait, one connection after another."""
        woken, at = sorted(waiting), events.now
        waiting.clear()
        for process in woken:
            at = primary.does(costs.push)
            told(process, at)

    def asked(process: int) -> None:
        nonlocal holder, loads, commands
        commands += 1
        at = primary.does(costs.script)
        if filled_at is not None:
            done.append(at + network.time())
        elif holder is None:
            holder, loads = process, loads + 1
            begins = at + network.time()
            events.at(begins + load + network.time(), fill)
            events.at(begins + RENEW, lambda: renew(begins))
        else:
            waiting.add(process)

    def renew(begins: float) -> None:
        nonlocal commands
        if filled_at is None and events.now < begins + load:
            commands += 1
            primary.does(costs.script)
            wake_all()
            events.at(events.now + RENEW, lambda: renew(begins))

    def fill() -> None:
        nonlocal filled_at, commands
        commands += 1
        filled_at = primary.does(costs.script)
        wake_all()

    for process in range(scene.processes):
        events.at(chance.random() * 0.01, lambda process=process: send(process))  # type: ignore[misc]
    events.run()
    assert filled_at is not None, "somebody loads"
    return Cold(loads, max(done, default=filled_at) - filled_at, commands, primary.busy)


# One drop --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FanOut:
    """When the near caches of all processes have dropped a key, in seconds after its `invalidate` was done."""

    times: tuple[float, ...]
    busy: float

    def share(self, part: float) -> float:
        """The time by which this part of the processes has."""
        return self.times[min(len(self.times) - 1, int(part * len(self.times)))]


def drop(scene: Scene, *, lost: float = 0.0) -> FanOut:
    """A key that every process holds near is dropped.

    Arguments:
        lost: the share of processes whose network loses everything just then: their entries end by their age.
    """
    costs, events, chance = scene.costs, Events(), random.Random(scene.seed)
    network, primary = Network(costs, chance), Primary(events)
    begins = primary.does(costs.script)
    times = []
    for _ in range(scene.processes):
        at = primary.does(costs.push)
        if chance.random() < lost:
            # The newest answered command was sent up to a ping's interval ago.
            times.append(scene.limits.max_staleness - chance.random() * scene.limits.ping_after)
        else:
            times.append(at + network.time() + costs.client - begins)
    return FanOut(tuple(sorted(times)), primary.busy)


# What a primary must bear ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Load:
    """What the changes of a second cost one primary."""

    changes: float
    pushes: float
    reads: float
    busy: float


def steady(scene: Scene, changes: float, *, reads: float = 100.0) -> Load:
    """What hot keys cost that change: each change is told to all who hold the key, and each of them reads it again.

    Arguments:
        changes: a second, over all keys, which change by the same law by which they are read.
        reads: a second and process. A key that nobody reads between two changes costs one push less.
    """
    costs = scene.costs
    shares = [1 / (rank + 1) for rank in range(scene.keys)]
    total = sum(shares)
    pushes = refills = 0.0
    for share in shares:
        change = changes * share / total
        read = reads * share / total
        # A process holds the key at a change if it has read it since the one before: two Poisson processes.
        held = read / (read + change) if read + change else 0.0
        pushes += change * held * scene.processes
        refills += change * held * scene.processes
    busy = (changes * 2 * costs.script + pushes * costs.push + refills * costs.get) / scene.primaries * 1e-6
    return Load(changes, pushes, refills, busy)


def most_changes(scene: Scene, busy: float = 0.7, *, reads: float = 100.0) -> float:
    """The changes a second at which a primary has so much of its core in use."""
    low, high = 0.0, 1e9
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if steady(scene, middle, reads=reads).busy < busy else (low, middle)
    return low


# A failover --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Failover:
    """What the other processes see when a primary dies and its replica is promoted.

    Arguments:
        questions: CLUSTER SHARDS in all.
        peak: most of them that one primary was asked within a tenth of a second.
        longest_wait: of a command behind them at a primary that lives, in seconds.
        promoted_wait: the same at the promoted one, behind connections and what is read again.
        healed: when the last process has its connections to the promoted one, in seconds after the promotion.
    """

    questions: int
    peak: int
    longest_wait: float
    promoted_wait: float
    healed: float


def failover(scene: Scene, *, pause: bool = True) -> Failover:
    """A primary dies: connections break, processes ask who owns its slots, and come back to the promoted replica.

    Arguments:
        pause: the survey's pause. Without it each process asks at its first hint, and again at each further one that
            comes while no question of its own is under way.
    """
    costs, limits = scene.costs, scene.limits
    events, chance = Events(), random.Random(scene.seed)
    network = Network(costs, chance)
    living = [Primary(events) for _ in range(max(1, scene.primaries - 1))]
    promoted = Primary(events)
    shards = costs.shards * max(1.0, scene.primaries / 3)
    asked: list[tuple[float, int]] = []
    healed: list[float] = []
    under_way: set[int] = set()
    connected: set[int] = set()
    tries = dict.fromkeys(range(scene.processes), 0)

    def hint(process: int) -> None:
        """Its node is gone, or said MOVED: ask, once for many hints, after a pause of its own."""
        if process in under_way or process in connected:
            return
        under_way.add(process)
        events.at(events.now + (chance.random() * limits.topology_pause if pause else 0.0), lambda: ask(process))

    def ask(process: int) -> None:
        node = chance.randrange(len(living))
        events.at(events.now + network.time(), lambda: shards_at(process, node))

    def shards_at(process: int, node: int) -> None:
        asked.append((events.now, node))
        at = living[node].does(shards)
        events.at(at + network.time(), lambda: answered(process, at))

    def answered(process: int, at: float) -> None:
        under_way.discard(process)
        if process in connected:
            return
        if at >= costs.failover:
            events.at(events.now + network.time(), lambda: connect(process))
            return
        tries[process] += 1
        # Nobody owns the slots yet. The reconnect's next failure is the next hint; without the pause so is every read.
        wait = limits.pause(tries[process], chance.random()) if pause else chance.random() * 0.01
        events.at(events.now + wait, lambda: hint(process))

    def read(primary: Primary) -> None:
        primary.does(costs.get)

    def connect(process: int) -> None:
        if process in connected:
            return
        connected.add(process)
        promoted.does(costs.connect)
        at = promoted.does(costs.connect)  # the second channel
        healed.append(at + network.time())
        # What it held near of this node is gone: its hottest keys are read again at once.
        for number in range(min(100, scene.keys // scene.primaries)):
            events.at(at + number * 1e-3 + network.time(), lambda: read(promoted))

    for process in range(scene.processes):
        # The kernel of a killed process closes its sockets: all know within moments.
        events.at(network.time(), lambda process=process: hint(process))  # type: ignore[misc]
    events.run()
    buckets: dict[tuple[int, int], int] = {}
    for time, node in asked:
        buckets[int(time * 10), node] = buckets.get((int(time * 10), node), 0) + 1
    return Failover(
        len(asked),
        max(buckets.values()),
        max(one.longest_wait for one in living),
        promoted.longest_wait,
        max(healed) - costs.failover,
    )


# What is printed -----------------------------------------------------------------------------------------


def report(scene: Scene) -> str:
    """The results as Markdown tables."""
    sizes = sorted({max(1, scene.processes // 100), max(1, scene.processes // 10), scene.processes})
    lines = [
        f"{scene.processes:,} processes, {scene.keys:,} hot keys, {scene.primaries} primaries, seed {scene.seed}.",
        "",
        "One cold key that all processes miss within 10 ms:",
        "",
        "| processes | loader | loads | commands | last caller after the fill, ms | CPU of the primary, ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for size in sizes:
        for load in (scene.costs.load, 3.0):
            cold = cold_key(replace(scene, processes=size), load=load)
            lines.append(
                f"| {size:,} | {load:g} s | {cold.loads} | {cold.commands:,} | {cold.last_after_fill * 1e3:.1f} "
                f"| {cold.busy * 1e3:.1f} |"
            )
    lines += [
        "",
        "One dropped key that all processes hold near: time until so many near caches have dropped it, ms:",
        "",
        "| processes | half | 99 % | the last | CPU of the primary, ms | the last, where 1 % are cut off just then |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for size in sizes:
        found = drop(replace(scene, processes=size))
        cut = drop(replace(scene, processes=size), lost=0.01)
        shares = " | ".join(f"{found.share(part) * 1e3:.1f}" for part in (0.5, 0.99, 1.0))
        lines.append(f"| {size:,} | {shares} | {found.busy * 1e3:.1f} | {cut.share(1.0) * 1e3:.0f} |")
    lines += [
        "",
        "What a primary must bear:",
        "",
        "| reads a second and process | changes a second | pushes a second | reads of the server a second "
        "| share of a core, each primary |",
        "| --- | --- | --- | --- | --- |",
    ]
    for reads in (100, 1000):
        for changes in (10, 100, 1000):
            one = steady(scene, changes, reads=reads)
            lines.append(f"| {reads:,} | {changes:,} | {one.pushes:,.0f} | {one.reads:,.0f} | {one.busy:.3f} |")
    lines += [
        "",
        f"With 1,000 reads a second and process a primary is at 0.7 of a core with "
        f"{most_changes(scene, reads=1000):,.0f} changes a second.",
        "",
        "A primary dies, and its replica is promoted:",
        "",
        "| processes | survey's pause | questions | at most in 0.1 s at one node | longest wait behind them, ms "
        "| longest wait at the promoted one, ms | the last process is back after the promotion, s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for size in sizes:
        for pause in (True, False):
            one_ = failover(replace(scene, processes=size), pause=pause)
            lines.append(
                f"| {size:,} | {'yes' if pause else 'no'} | {one_.questions:,} | {one_.peak:,} "
                f"| {one_.longest_wait * 1e3:.1f} | {one_.promoted_wait * 1e3:.0f} | {one_.healed:.2f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Simulate, print, and draw."""
    usual = Scene()
    parser = argparse.ArgumentParser(description="Simulate a platform past these machines.")
    parser.add_argument("--processes", type=int, default=usual.processes)
    parser.add_argument("--keys", type=int, default=usual.keys)
    parser.add_argument("--primaries", type=int, default=usual.primaries)
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--picture", type=Path, help="an SVG file to draw")
    parser.add_argument("--page", type=Path, help="a page whose part between the marks is replaced")
    given = parser.parse_args()
    scene = Scene(processes=given.processes, keys=given.keys, primaries=given.primaries, seed=given.seed)
    text = report(scene)
    print(text)
    if given.page is not None:
        page = given.page.read_text("utf-8")
        head, _, rest = page.partition(MARKS[0])
        _, _, tail = rest.partition(MARKS[1])
        given.page.write_text(f"{head}{MARKS[0]}\n{text}{MARKS[1]}{tail}", "utf-8")
    if given.picture is not None:
        from bench.simulate_picture import draw

        draw(scene, given.picture)


MARKS = "<!-- simulated -->", "<!-- end -->"

if __name__ == "__main__":
    main()
