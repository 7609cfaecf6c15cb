"""Several keys at once: a lease per key, and one call of the batch loader for those that were won.

What is won is loaded before anything is waited for. What that prevents:

    P wins a and waits for b · Q wins b and waits for a · both wait until their leases lapse
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from greenroom.caching.lease import Acquired, Answer, Holder
from greenroom.caching.loader import LoadOutcome
from greenroom.caching.loading import LeasedLoader
from greenroom.caching.questions import Miss
from greenroom.caching.result import CacheResult, Loaded, Outcome
from greenroom.caching.single_flight import Flight
from greenroom.errors import CommandFailed, EngineError, OutOfMemory, Overloaded

log = logging.getLogger("greenroom.caching")

T = TypeVar("T")
BatchLoader = Callable[[Sequence[Any]], Awaitable[Sequence[T | Loaded[T] | None]]]
PlainBatchLoader = Callable[[Sequence[Any]], Sequence[T | Loaded[T] | None]]
"""As a `BatchLoader`, in a function that is not async."""
Parts = Mapping[str, object]


class _Unregistered(Exception):
    """A key whose lease was won could not be put into its group: it is loaded, and not stored."""


class Batch(Generic[T]):
    """Loads of several keys of one cache.

    What goes wrong counts for each key, as where each is loaded alone; of one batch the log has one line.

    Arguments:
        load_many: given a list of parts (mappings, or bare values where a key has one part), returns as many values.
    """

    def __init__(self, loads: LeasedLoader[T], load_many: BatchLoader[T]) -> None:
        self._loads = loads
        self._steps = loads.steps
        self._load_many = load_many

    def begin(self, missing: Mapping[str, tuple[Parts, Miss]]) -> dict[str, Flight[CacheResult[T]]]:
        """Begin a flight for each key; returns at once."""
        flights = {key: self._steps.flights.begin(key) for key in missing}
        self._steps.flights.work_on(flights.values(), self._work(flights, missing))
        return flights

    async def _work(
        self, flights: Mapping[str, Flight[CacheResult[T]]], missing: Mapping[str, tuple[Parts, Miss]]
    ) -> None:
        holders = {key: self._steps.leases.holder(key) for key, (_, miss) in missing.items() if miss.reachable}
        for key, holder in holders.items():
            # At once. Prevents: an operator ends the load of one key · its lease is renewed until the batch has ended ·
            # the next caller waits for the very load that was to be ended.
            flights[key].given_up = holder.release
        try:
            await self._ask_and_load(flights, missing, holders)
        finally:
            for holder in holders.values():
                holder.release()

    async def _ask_and_load(
        self,
        flights: Mapping[str, Flight[CacheResult[T]]],
        missing: Mapping[str, tuple[Parts, Miss]],
        holders: Mapping[str, Holder],
    ) -> None:
        answers = await asyncio.gather(
            *(self._ask(holder, flights[key], *missing[key]) for key, holder in holders.items()),
            return_exceptions=True,
        )
        won: list[Holder] = []
        others: list[str] = []
        unreachable = [key for key in missing if key not in holders]
        unstored: dict[str, Outcome] = {}
        for (key, holder), answer in zip(holders.items(), answers, strict=True):
            given_up = flights[key].over
            if isinstance(answer, Acquired) and not given_up:
                won.append(holder)
                continue
            # Of a key that was given up once more: the answer may be to a question that was repeated since.
            holder.release()
            if given_up:
                continue
            if isinstance(answer, _Unregistered | OutOfMemory | CommandFailed):
                unstored[key] = Outcome.LOADED if isinstance(_reason(answer), OutOfMemory) else Outcome.BYPASSED
            elif isinstance(answer, EngineError) and not isinstance(answer, Overloaded):
                unreachable.append(key)
            elif isinstance(answer, BaseException):
                flights[key].set_exception(answer)
            else:
                others.append(key)
        self._tell(dict(zip(holders, answers, strict=True)))
        await asyncio.gather(
            self._load_under_leases(won, flights, missing),
            self._bypass(unreachable, flights, missing),
            self._load_unstored(unstored, flights, missing),
            # Each asks again for itself, finds, waits, or wins and then loads alone.
            *(self._load_alone(flights[key], *missing[key]) for key in others),
        )

    async def _ask(self, holder: Holder, flight: Flight[CacheResult[T]], parts: Parts, miss: Miss) -> Answer:
        answer = await self._steps.ask(holder, flight, miss)
        if isinstance(answer, Acquired) and not flight.over:
            self._steps.hold(holder, flight)
            try:
                await self._steps.register(holder, parts)
            except Overloaded:
                raise
            except EngineError as error:
                raise _Unregistered from error
        return answer

    def _tell(self, answers: Mapping[str, Answer | BaseException]) -> None:
        """Count and log what keeps keys from being stored, or from being loaded."""
        refused: list[tuple[str, EngineError]] = []
        failed: list[tuple[str, EngineError]] = []
        for key, answer in answers.items():
            match error := _reason(answer):
                case Overloaded():
                    self._steps.count("overloaded", key)  # its callers are told
                case OutOfMemory():
                    self._steps.count("out_of_memory", key)
                    failed.append((key, error))
                case EngineError():
                    self._steps.count("engine", key)
                    (refused if isinstance(answer, CommandFailed) else failed).append((key, error))
        if refused:
            log.warning("asking for %s%s: %s", *_first(refused))
        elif failed:
            log.debug("loading %s%s, not to be stored: %s", *_first(failed))

    async def _load_under_leases(
        self,
        holders: Sequence[Holder],
        flights: Mapping[str, Flight[CacheResult[T]]],
        missing: Mapping[str, tuple[Parts, Miss]],
    ) -> None:
        if not holders:
            return
        try:
            loaded = await self._loaded([holder.key for holder in holders], missing)
        except BaseException as error:
            for holder in _wanted(holders, flights):
                flights[holder.key].set_exception(error)
                self._steps.failed(holder, error)
            if not isinstance(error, Exception):
                raise
            return

        failures: list[tuple[str, EngineError]] = []

        async def store(holder: Holder, one: LoadOutcome[T]) -> None:
            stored = await self._steps.store(holder, one, failures)
            flights[holder.key].set_result(CacheResult(one.value, one.body, Outcome.LOADED, stored=stored))

        await asyncio.gather(*(store(holder, loaded[holder.key]) for holder in _wanted(holders, flights)))
        if failures:
            log.warning("storing %s%s: %s", *_first(failures))

    async def _bypass(
        self,
        keys: Sequence[str],
        flights: Mapping[str, Flight[CacheResult[T]]],
        missing: Mapping[str, tuple[Parts, Miss]],
    ) -> None:
        if not keys:
            return
        for key in keys:
            flights[key].asking, flights[key].bypasses = False, True
        try:
            async with self._steps.fallback.permit():
                loaded = await self._loaded(keys, missing)
        except Exception as error:
            for key in keys:
                flights[key].set_exception(error)
            return
        for key, one in loaded.items():
            self._steps.without_server(flights[key], one)

    async def _load_unstored(
        self,
        outcomes: Mapping[str, Outcome],
        flights: Mapping[str, Flight[CacheResult[T]]],
        missing: Mapping[str, tuple[Parts, Miss]],
    ) -> None:
        """As a single load without a lease although its server answers."""
        if not outcomes:
            return
        try:
            async with self._steps.fallback.permit():
                for key in outcomes:
                    self._steps.flights.close(flights[key])
                loaded = await self._loaded(list(outcomes), missing)
        except Exception as error:
            for key in outcomes:
                flights[key].set_exception(error)
            return
        for key, one in loaded.items():
            flights[key].set_result(CacheResult(one.value, one.body, outcomes[key]))

    async def _load_alone(self, flight: Flight[CacheResult[T]], parts: Parts, miss: Miss) -> None:
        if flight.over:
            return
        alone = asyncio.get_running_loop().create_task(self._loads.run(flight, parts, miss))
        flight.given_up = alone.cancel
        try:
            await alone
        except asyncio.CancelledError:
            if not flight.over:  # else it alone was given up
                raise
        except Exception as error:
            flight.set_exception(error)

    async def _loaded(
        self, keys: Sequence[str], missing: Mapping[str, tuple[Parts, Miss]]
    ) -> dict[str, LoadOutcome[T]]:
        arguments = [_argument(missing[key][0]) for key in keys]
        values = await self._steps.loader.call(keys, lambda: self._load_many(arguments))
        remedy = "return a list with one value for each, in their order"
        if not isinstance(values, Sequence) or isinstance(values, str | bytes):
            # A dict has a length too, and would give its keys.
            reason = f"returned {type(values).__name__} for {len(keys)} keys"
            raise self._steps.loader.mistake(keys[0], "load_many", reason, remedy)
        if len(values) != len(keys):
            reason = f"returned {len(values)} values for {len(keys)} keys"
            raise self._steps.loader.mistake(keys[0], "load_many", reason, remedy)
        return {key: self._steps.loader.as_stored(key, value) for key, value in zip(keys, values, strict=True)}


def _wanted(holders: Sequence[Holder], flights: Mapping[str, Flight[Any]]) -> list[Holder]:
    """Those whose keys were not given up meanwhile: for the others nothing is stored, and no failure left."""
    return [holder for holder in holders if not flights[holder.key].over]


def _reason(answer: Answer | BaseException) -> Answer | BaseException | None:
    """What was answered, or the error for which a key could not be put into its group."""
    return answer.__cause__ if isinstance(answer, _Unregistered) else answer


def _first(failures: Sequence[tuple[str, EngineError]]) -> tuple[str, str, EngineError]:
    """For one line of the log: the first key, how many more there are, and its error."""
    key, error = failures[0]
    return key, f", and {len(failures) - 1} more" if len(failures) > 1 else "", error


def _argument(parts: Parts) -> object:
    """What a batch loader is given for a key: its one part, or all parts by name."""
    return next(iter(parts.values())) if len(parts) == 1 else dict(parts)
