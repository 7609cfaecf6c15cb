"""Following one job: its statuses as they come, or None where there is no such job."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")


class Following(AsyncGenerator[T, None]):
    """The statuses of a job, made by `Jobs.follow`: `async for job in jobs.follow("a")`.

    Awaited before that, it says whether there is such a job: `following = await jobs.follow("a")` is None where there
    is none, and itself, with the first status at hand, where there is one.
    """

    def __init__(self, values: AsyncGenerator[T, None]) -> None:
        self._values = values
        self._first: list[T] = []

    def __await__(self) -> Generator[Any, None, Following[T] | None]:
        return self._with_first().__await__()

    async def asend(self, value: None, /) -> T:
        """The next status, as a generator's."""
        return self._first.pop() if self._first else await self._values.asend(value)

    async def athrow(
        self,
        kind: type[BaseException] | BaseException,
        value: BaseException | object = None,
        trace: TracebackType | None = None,
        /,
    ) -> T:
        """Raise an error where it waits, as a generator's."""
        return await self._values.athrow(kind if isinstance(kind, BaseException) else kind(value))

    async def aclose(self) -> None:
        """Stop following."""
        self._first.clear()
        await self._values.aclose()

    async def first(self) -> T | None:
        """The first status, which is still to come as the first; None where there is no such job."""
        return self._first[0] if await self._with_first() is not None else None

    async def _with_first(self) -> Following[T] | None:
        if not self._first:
            try:
                self._first.append(await anext(self._values))
            except StopAsyncIteration:
                return None
        return self
