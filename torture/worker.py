"""One process: caches over the server, clients that read and change, and a journal of all that they see.

Started by the driver with its plan as the only argument; obeys lines on its standard input: `start` lets the
clients begin, `finish` ends them and waits until nothing is under way, `report` then tells what is stored here. Each is
answered by the same line.
"""

from __future__ import annotations

import asyncio
import io
import logging
import random
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec

from greenroom.caching.backing import Backing
from greenroom.clock import SYSTEM
from greenroom.engine import Address, Clustered, Lane, Limits, engine_at
from greenroom.engine.connection import Connection
from greenroom.engine.slots import slot_of
from greenroom.engine.uses import callbacks
from greenroom.observe import Counters
from torture import broken
from torture.caches import KEYS, Caches, version_in
from torture.clients import Clients
from torture.history import Contact, Crash, Final, Journal, Served, Stood, now
from torture.lane import LateLane
from torture.plan import SURVEY, Plan
from torture.record import Record

_BEAT = 0.02
"""Seconds between two looks at the clock, and between two round trips."""
_PATIENCE = 20.0
"""Seconds that everything under way may take to end: far above every deadline."""
_STOOD = 0.1
"""Seconds of lateness from which the process counts as having stood still."""


class Worker:
    """The process, while its plan is carried out."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.journal = Journal(plan.journal, plan.process)
        self.record = Record(plan.record)
        self.counters = Counters()
        self.backing = Backing("", SYSTEM, self.counters)

    async def run(self) -> None:
        """Carry out the plan, and what standard input says."""
        asyncio.get_running_loop().set_exception_handler(self._crashed)
        await self._opened()
        late = broken.register_late(self.backing) if self.plan.broken == broken.GROUP_AFTER_LOAD else None
        caches = Caches(self.backing, self.record, random.Random(f"{self.plan.seed} loads"), self.plan.slow, late)
        clients = Clients(self.plan, self.backing, self.record, caches, self.journal)
        beats = [asyncio.create_task(beat()) for beat in (self._look_at_clock, self._keep_in_contact)]
        commands = await _standard_input()
        while line := (await commands.readline()).strip():
            if line == b"start":
                clients.start()
            elif line == b"finish":
                await self._become_quiet(clients, caches)
            elif line == b"report":
                await self._report(caches)
            print(line.decode(), flush=True)
        for task in beats:
            task.cancel()
        await self.backing.close()
        self.journal.close()

    async def _opened(self) -> None:
        if self.plan.broken == broken.LEASE_UNCHECKED:
            broken.uncheck_leases()
        use = replace(self.backing.use, before_serving=self._before_serving)
        address, limits = Address.parse(self.plan.address), Limits(survey=SURVEY)
        engine = self._engine = engine_at(
            address,
            **callbacks([use]),
            replica_reads=self.plan.replicas,
            counters=self.counters,
            limits=limits,
        )
        lane = broken.HookAfterAwait if self.plan.broken == broken.NEAR_AFTER_AWAIT else LateLane
        self.backing.attach(lane(engine, self.plan.late, random.Random(f"{self.plan.seed} lane")))
        await self.backing.engine.start()

    async def _before_serving(self, connection: Connection) -> None:
        began = now()
        await self.backing.before_serving(connection)
        node = getattr(connection.share, "node", None)
        self.journal.add(Served(self.plan.process, began, now(), "" if node is None else str(node.address)))

    # What goes on beside the clients ---------------------------------------------------------------

    async def _look_at_clock(self) -> None:
        while True:
            began = now()
            await asyncio.sleep(_BEAT)
            if now() - began > _BEAT + _STOOD:
                self.journal.add(Stood(self.plan.process, began, now()))

    async def _keep_in_contact(self) -> None:
        while True:
            await self._contact()
            await asyncio.sleep(_BEAT)

    async def _contact(self) -> bool:
        began = now()
        try:
            await asyncio.gather(*(self.backing.engine.execute(Lane.TRACKED, key, "PING") for key in self._of_nodes()))
        except Exception:
            return False
        self.journal.add(Contact(self.plan.process, began, now()))
        return True

    def _of_nodes(self) -> list[str]:
        """A key of each node that has one."""
        if not isinstance(self._engine, Clustered):
            return ["contact"]
        return list({self._engine._owners.of_slot[slot_of(key)]: key for key in KEYS}.values())

    def _crashed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        text = f"{context.get('message')}: {context.get('exception')!r}"
        self.journal.add(Crash(self.plan.process, now(), now(), text))

    # The end ---------------------------------------------------------------------------------------

    async def _become_quiet(self, clients: Clients, caches: Caches) -> None:
        """Return when the server is back and nothing is under way; write down what does not end."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await clients.finish()
                await _true(self._contact)
                await caches.idle()
        except TimeoutError:
            for task in asyncio.all_tasks():
                stack = io.StringIO()
                task.print_stack(file=stack)
                self.journal.add(Crash(self.plan.process, now(), now(), f"this does not end: {stack.getvalue()}"))

    async def _report(self, caches: Caches) -> None:
        """What is stored here, after every push has been read."""
        await _true(self._contact)
        for key in self.backing.near:
            entry = self.backing.near.get(key, now())
            if entry is not None:
                self._final(key, "near", version_in(entry.body))
        for key in KEYS:
            self._final(key, "a read", await caches.last(key))

    def _final(self, key: str, where: str, version: int | None) -> None:
        process = self.plan.process
        self.journal.add(Final(process, now(), now(), key, f"{where} of process {process}", version))


async def _true(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await asyncio.sleep(0.05)


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def main(argument: str) -> None:
    """Run a worker; every second one on uvloop, which reads and wakes in other ways than asyncio's own loop."""
    plan = msgspec.json.decode(argument, type=Plan)
    logging.basicConfig(filename=plan.log, format="%(asctime)s %(name)s %(message)s")
    worker = Worker(plan)
    if plan.process % 2:
        import uvloop

        uvloop.run(worker.run())
    else:
        asyncio.run(worker.run())


if __name__ == "__main__":
    main(sys.argv[1])
