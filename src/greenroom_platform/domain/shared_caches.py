"""All processes of one record use the same caches; a process with other caches is told so, and which they are.

    service A changes a topic, drops it from its own caches and forgets the outbox row · service B has other caches ·
    nobody tells B, and it serves the old value for its whole lifetime

The caches have a key with their identity, and the record says which caches its changes are sent to. A process whose
caches are other ones asks in the record whether anybody still uses those. Whoever does answers within a second or so,
and the process that asked refuses to start. Where nobody answers, the server of the caches was emptied or replaced, and
its successor takes the place. What it holds may be from before changes that it was not told of, so it is dropped first.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import msgspec

from greenroom.clock import Clock
from greenroom.engine import Channel, Engine
from greenroom.errors import EngineError, InvalidInput, RecordError
from greenroom.keyspace.derived_keys import derived_key
from greenroom.printable import printable
from greenroom_platform.domain.known_caches import CachesRecords, KnownCaches

log = logging.getLogger("greenroom.domain")

LOOK_INTERVAL = 1.0
"""Seconds between two looks for a question, and for another's place."""
ANSWER_TIMEOUT = 4.0
"""Seconds for which a question waits for its answer; longer than a look and what a busy machine adds."""
FURTHER_TIMEOUT = 1.5
"""Seconds for which the question waits again, once it could be written again; longer than a look."""
LOCKED = 1.0
"""Seconds of a write above which somebody else had the record: whoever wanted to answer could not either."""
ASK_INTERVAL = 10.0
"""Seconds between two questions of a process that goes on with caches of its own."""
_POLL = 0.1


# docs/decisions/0091-the-record-knows-its-caches.md
class SharedCaches:
    """Keeps the processes of one record on one set of caches.

    Arguments:
        records: where the record says which.
        engine: of the caches' server.
        prefix: the room's key prefix: what has another one is another set of caches.
        drop_all: drops all that the caches hold of the record.
    """

    def __init__(
        self,
        records: CachesRecords,
        engine: Engine,
        prefix: str,
        clock: Clock,
        drop_all: Callable[[], Awaitable[None]],
    ) -> None:
        self._records = records
        self._engine = engine
        self._key = derived_key(prefix, "identity", "caches")
        # Printable, since the record keeps it. A path need not be UTF-8.
        address = printable(str(engine.address))
        self._address = f"{address} with the key prefix {prefix!r}" if prefix else address
        self._clock = clock
        self._drop_all = drop_all
        self._identity = ""
        """That of the caches, as it was seen last."""
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """See that these are the record's caches, and go on looking; to be called before anything is read or sent.

        Where caches or record cannot be asked it is found out later, and told by the log.

        Raises:
            InvalidInput: when other processes use the record with other caches.
        """
        try:
            await self._check()
        except (EngineError, RecordError) as error:
            log.debug("whether the caches are those of the record is not known: %s", error)
        self._looking = asyncio.create_task(self._keep_looking(), name="greenroom-caches")

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    # ------------------------------------------------------------------------------------------------

    async def _keep_looking(self) -> None:
        apart = False
        while True:
            await asyncio.sleep(ASK_INTERVAL if apart else LOOK_INTERVAL)
            try:
                await self._check()
            except InvalidInput as error:
                if not apart:
                    log.error("old values may be served: %s", error)
                apart = True
            except (EngineError, RecordError) as error:
                log.debug("whether the caches are those of the record is not known: %s", error)
            except Exception:  # nobody else looks in this process: it is tried again, whatever it was
                log.exception("looking for the caches of the record failed")
            else:
                if apart:
                    log.info("all processes on this record share one cache server again")
                apart = False

    async def _check(self) -> None:
        """Return if these are the caches of the record, or have become them; and answer who asks for them."""
        while True:
            known = await self._records.known()
            if known is None:
                first = KnownCaches(identity=await self._identified(create=True), address=self._address)
                await self._records.replace(None, first)
            elif known.identity == self._identity and known.answered >= known.asked:
                return
            elif known.identity != await self._identified():
                await self._take_over(known)
            elif known.answered >= known.asked:
                return
            else:
                # Only now: they may have been replaced since they were looked at last, and others have their place.
                await self._records.replace(known, msgspec.structs.replace(known, answered=known.asked))

    async def _take_over(self, known: KnownCaches) -> None:
        """Take the place of the record's caches, unless somebody uses them; returns where that must be looked at anew.

        Raises:
            InvalidInput: when somebody does.
        """
        asked = msgspec.structs.replace(known, asked=known.asked + 1)
        if not await self._records.replace(known, asked):
            return
        found = await self._unanswered(asked, asked.asked, ANSWER_TIMEOUT)
        if found is None:
            return
        # Prevents: a migration has the record locked · those who live cannot write their answer · this process, which
        # only reads, takes their place. So it writes too: where that must wait, or takes long, all of it begins anew.
        again, began = msgspec.structs.replace(found, asked=found.asked + 1), monotonic()
        if not await self._records.replace(found, again) or monotonic() - began > LOCKED:
            return
        found = await self._unanswered(again, asked.asked, FURTHER_TIMEOUT)
        if found is None:
            return
        # Before the place is taken. Prevents: it is taken · the process is killed · what these caches have held since
        # another time is served by the next process.
        await self._drop_all()
        mine = KnownCaches(identity=await self._identified(create=True), address=self._address)
        if await self._records.replace(found, msgspec.structs.replace(mine, asked=found.asked, answered=found.asked)):
            log.warning(
                "nobody uses the caches any more that changes of the record were sent to (%s); from now on they are "
                "sent to %s, whose values of the record were dropped first",
                known.address,
                self._address,
            )

    async def _unanswered(self, known: KnownCaches, question: int, seconds: float) -> KnownCaches | None:
        """The place as it is when nobody has answered the question for so long; None where it must be looked at anew.

        Raises:
            InvalidInput: when somebody has.
        """
        end = monotonic() + seconds
        while True:
            found = await self._records.known()
            if found is None or found.identity != known.identity:
                return None
            if found.answered >= question:
                # Who answered has put the identity of its caches back where it was gone: ours may be the same.
                if await self._identified() == known.identity:
                    return None
                raise self._refusal(known)
            if monotonic() >= end:
                return found
            await asyncio.sleep(_POLL)

    async def _identified(self, *, create: bool = False) -> str:
        """The identity of the caches; empty where they have none.

        What this process has seen is put back where it is gone. Prevents: the server is emptied · a process that
        starts on it asks, is answered by one that serves from the same server, and refuses to start.
        """
        candidate = self._identity or (self._clock.token().hex() if create else "")
        # Looked at first: a server without memory refuses to set what it has.
        found: Any = await self._engine.execute(Channel.PLAIN, self._key, "GET", self._key)
        if found is None and candidate:
            found = await self._engine.execute(Channel.PLAIN, self._key, "SET", self._key, candidate, "NX", "GET")
            found = candidate.encode() if found is None else found
        self._identity = found.decode("utf-8", "replace") if isinstance(found, bytes) else ""
        return self._identity

    def _refusal(self, known: KnownCaches) -> InvalidInput:
        reason = (
            f"{self._address} is not where the other processes of this record have their caches: {known.address}; "
            "either would serve old values of what is changed through the other"
        )
        remedy = (
            "give all processes of one record one server of the caches and one key prefix (--valkey-url or "
            "--cache-url, and --key-prefix), or stop the others before you change to this one"
        )
        return InvalidInput("caches", reason, remedy)
