"""One process: caches, sessions and podcasts, clients of each, and a journal of all that they see.

Started by the driver with its plan as the only argument; obeys lines on its standard input: `start` lets the
clients begin, `finish` ends them and waits until nothing is under way, `report` then tells what is stored here, and
`sessions` what there is of sessions. Each is answered by the same line.
"""

from __future__ import annotations

import asyncio
import io
import logging
import random
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import msgspec

from greenroom.engine import Channel
from greenroom.engine.cluster.cluster import Clustered
from greenroom.engine.protocol.hash_slot import slot_of
from torture import broken
from torture.caches import KEYS, Caches, version_in
from torture.clients import Clients
from torture.heir import bequeathed, send
from torture.history import Contact, Crash, Final, Stood, now
from torture.journal import Journal, events
from torture.opened import Opened
from torture.plan import Plan
from torture.record import Record
from torture.session_clients import SessionClients
from torture.session_history import Begun, Rotated

if TYPE_CHECKING:
    from torture.podcasts import Podcasts

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
        self._opened = Opened(plan, self.journal)
        self._heirs: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Carry out the plan, and what standard input says."""
        asyncio.get_running_loop().set_exception_handler(self._crashed)
        async with AsyncExitStack() as stack:
            late = broken.apply(self.plan.broken)
            await self._opened.start(stack)
            self.backing = self._opened.backing
            chance = random.Random(f"{self.plan.seed} loads")
            self._caches = Caches(self.plan, self.backing, self.record, chance, self.journal, late)
            self._clients = Clients(self.plan, self.backing, self.record, self._caches, self.journal)
            self._sessions = SessionClients(self.plan, self._opened.sessions, self.journal)
            self._podcasts: Podcasts | None = None
            if self.plan.podcasts:
                from torture.podcasts import Podcasts  # a fifth of the start, where there are none

                self._podcasts = await Podcasts.opened(self.plan, self.backing, self.journal)
                stack.push_async_callback(self._podcasts.close)
            beats = [asyncio.create_task(beat()) for beat in (self._look_at_clock, self._keep_in_contact)]
            await self._obey()
            for task in beats:
                task.cancel()
        self.journal.close()

    async def _obey(self) -> None:
        commands = await _standard_input()
        while line := (await commands.readline()).strip():
            if line == b"start":
                self._start()
            elif line == b"finish":
                await self._become_quiet()
            elif line == b"report":
                await self._report()
            elif line == b"sessions":
                await self._sessions.report(self._every_session())
            print(line.decode(), flush=True)

    def _start(self) -> None:
        if self.plan.heir_of:
            left = bequeathed([self.plan.journal_of(one) for one in self.plan.heir_of])
            task = asyncio.create_task(send(left, self._caches, self.journal))
            self._heirs.add(task)
        self._clients.start()
        self._sessions.start()
        if self._podcasts is not None:
            self._podcasts.start()

    # What goes on beside the clients ---------------------------------------------------------------

    async def _look_at_clock(self) -> None:
        while True:
            began = now()
            await asyncio.sleep(_BEAT)
            if now() - began > _BEAT + _STOOD:
                self.journal.add(Stood(self.plan.process, began, now()))

    async def _keep_in_contact(self) -> None:
        while self.plan.contact:
            await self._contact()
            await asyncio.sleep(_BEAT)

    async def _contact(self) -> bool:
        began = now()
        try:
            await asyncio.gather(
                *(self.backing.engine.execute(Channel.TRACKED, key, "PING") for key in self._of_nodes())
            )
        except Exception:
            return False
        self.journal.add(Contact(self.plan.process, began, now()))
        return True

    def _of_nodes(self) -> list[str]:
        """A key of each node that has one."""
        if not isinstance(self._opened.engine, Clustered):
            return ["contact"]
        return list({self._opened.engine._owners.of_slot[slot_of(key)]: key for key in KEYS}.values())

    def _crashed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        text = f"{context.get('message')}: {context.get('exception')!r}"
        self.journal.add(Crash(self.plan.process, now(), now(), text))

    # The end ---------------------------------------------------------------------------------------

    async def _become_quiet(self) -> None:
        """Return when the server is back and nothing is under way; write down what does not end."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._clients.finish()
                await self._sessions.finish()
                if self._podcasts is not None:
                    await self._podcasts.finish()
                await asyncio.gather(*self._heirs)
                await _true(self._contact)
                await self._caches.idle()
        except TimeoutError:
            for task in asyncio.all_tasks():
                stack = io.StringIO()
                task.print_stack(file=stack)
                self.journal.add(Crash(self.plan.process, now(), now(), f"this does not end: {stack.getvalue()}"))

    async def _report(self) -> None:
        """What is stored here, after every push has been read."""
        await _true(self._contact)
        for key in KEYS:
            entry = self.backing.near.get(key, now())
            if entry is not None:
                self._final(key, "near", version_in(entry.body))
        for key in KEYS:
            self._final(key, "a read", await self._caches.last(key))
        if self._podcasts is not None:
            await self._podcasts.report(self._final)

    def _final(self, key: str, where: str, version: int | None) -> None:
        process = self.plan.process
        self.journal.add(Final(process, now(), now(), key, f"{where} of process {process}", version))

    def _every_session(self) -> list[str]:
        """The sessions that any process has begun."""
        paths: Sequence[Any] = sorted(self.plan.journal.parent.glob("process-*.ndjson"))
        found = (event for path in paths for event in events(path) if isinstance(event, Begun | Rotated))
        return [id for event in found if (id := event.session if isinstance(event, Begun) else event.successor)]


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
