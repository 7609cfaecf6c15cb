"""Several keys at once: a lease per key, and one call of the batch loader for those that were won.

What is won is loaded before anything is waited for. What that prevents:

    P wins a and waits for b · Q wins b and waits for a · both wait until their leases lapse
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from greenroom.caching.flight import Flight, Flights
from greenroom.caching.lease import Lead
from greenroom.caching.loader import plain
from greenroom.caching.loads import Loads
from greenroom.caching.outcome import Outcome, Read
from greenroom.caching.stored import Miss
from greenroom.errors import EngineError, InvalidInput, Overloaded

T = TypeVar("T")
BatchLoader = Callable[[Sequence[Any]], Awaitable[Sequence[T | None]]]
Parts = Mapping[str, object]


class Batch(Generic[T]):
    """Loads of several keys of one cache.

    Arguments:
        load_many: given a list of parts (mappings, or bare values where a key has one part), returns as many values.
    """

    def __init__(self, loads: Loads[T], flights: Flights[Read[T]], load_many: BatchLoader[T]) -> None:
        self._loads = loads
        self._flights = flights
        self._load_many = load_many

    def begin(self, missing: Mapping[str, tuple[Parts, Miss]]) -> dict[str, Flight[Read[T]]]:
        """Begin a flight for each key; returns at once."""
        flights = {key: self._flights.begin(key) for key in missing}
        self._flights.work_on(flights.values(), self._work(flights, missing))
        return flights

    async def _work(self, flights: Mapping[str, Flight[Read[T]]], missing: Mapping[str, tuple[Parts, Miss]]) -> None:
        unreachable = [key for key, (_, miss) in missing.items() if not miss.reachable]
        asked = [key for key, (_, miss) in missing.items() if miss.reachable]
        tokens = {key: self._loads.leases.token() for key in asked}
        answers = await asyncio.gather(
            *(self._loads.ask(key, missing[key][0], tokens[key], missing[key][1]) for key in asked),
            return_exceptions=True,
        )
        won: list[str] = []
        others: list[str] = []
        for key, answer in zip(asked, answers, strict=True):
            if isinstance(answer, Lead):
                won.append(key)
            elif isinstance(answer, EngineError) and not isinstance(answer, Overloaded):
                unreachable.append(key)
            elif isinstance(answer, BaseException):
                flights[key].crash(answer)
            else:
                others.append(key)
        await asyncio.gather(
            self._led(won, tokens, flights, missing),
            self._without(unreachable, flights, missing),
            # Each asks again for itself, finds, waits, or wins and then loads alone.
            *(self._alone(flights[key], *missing[key]) for key in others),
        )

    async def _led(
        self,
        keys: Sequence[str],
        tokens: Mapping[str, str],
        flights: Mapping[str, Flight[Read[T]]],
        missing: Mapping[str, tuple[Parts, Miss]],
    ) -> None:
        if not keys:
            return
        try:
            bodies = await self._loaded(keys, missing)
        except BaseException as error:
            for key in keys:
                flights[key].crash(error)
            await asyncio.gather(*(self._loads.failed(key, tokens[key], error) for key in keys))
            if not isinstance(error, Exception):
                raise
            return

        async def store(key: str, value: T | None, body: bytes | None) -> None:
            stored = await self._loads.store(key, tokens[key], body, missing[key][1].budget)
            flights[key].land(Read(value, body, Outcome.LOADED, stored=stored))

        await asyncio.gather(*(store(key, *loaded) for key, loaded in bodies.items()))

    async def _without(
        self,
        keys: Sequence[str],
        flights: Mapping[str, Flight[Read[T]]],
        missing: Mapping[str, tuple[Parts, Miss]],
    ) -> None:
        if not keys:
            return
        try:
            async with self._loads.outage.place():
                bodies = await self._loaded(keys, missing)
        except Exception as error:
            for key in keys:
                flights[key].crash(error)
            return
        for key, (value, body) in bodies.items():
            self._loads.without_server(flights[key], value, body)

    async def _alone(self, flight: Flight[Read[T]], parts: Parts, miss: Miss) -> None:
        try:
            await self._loads.fly(flight, parts, miss)
        except Exception as error:
            flight.crash(error)

    async def _loaded(
        self, keys: Sequence[str], missing: Mapping[str, tuple[Parts, Miss]]
    ) -> dict[str, tuple[T | None, bytes | None]]:
        asked = [plain(missing[key][0]) for key in keys]
        values = await self._loads.timed(keys[0], lambda: self._load_many(asked))
        if len(values) != len(keys):
            raise InvalidInput(
                "load_many",
                f"returned {len(values)} values for {len(keys)} keys",
                "return one for each, in their order",
            )
        return {key: (value, self._loads.encoded(key, value)) for key, value in zip(keys, values, strict=True)}
