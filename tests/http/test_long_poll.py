"""Answers that wait: let go at a change, at their end, when the client has gone, and when the service is to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from greenroom.errors import Overloaded, RecordUnavailable
from greenroom_platform.http import events
from greenroom_platform.http.events import EventStream, event_id
from greenroom_platform.http.long_poll import LongPolls


class Client:
    """One that takes what is sent, until it goes."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.asked = 0
        self.got: list[dict[str, Any]] = []
        self.takes = asyncio.Event()
        self.takes.set()

    async def receive(self) -> dict[str, Any]:
        self.asked += 1
        if self.asked == 1:
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        await self.takes.wait()
        self.got.append(message)

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.got).decode()

    async def has(self, text: str) -> None:
        async with asyncio.timeout(20):
            while text not in self.text:
                await asyncio.sleep(0)


class Values:
    """A generator moved by hand, and whether it was closed."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.closed = False

    async def __call__(self) -> AsyncGenerator[Any, None]:
        try:
            while (value := await self.queue.get()) is not None:
                if isinstance(value, Exception):
                    raise value
                yield value
        finally:
            self.closed = True


@pytest.fixture
def waiting() -> LongPolls:
    return LongPolls(places=2)


@pytest.fixture
def client() -> Client:
    return Client()


async def waits(waiting: LongPolls, client: Client, seconds: float | None = None) -> bool:
    """Wait for what never comes; returns whether the block was left before its end."""
    ended = False
    async with waiting.place(client.receive, seconds):
        await asyncio.Event().wait()
        ended = True
    return not ended


async def begun(task: asyncio.Task[Any], waiting: LongPolls, number: int = 1) -> asyncio.Task[Any]:
    while len(waiting) < number:
        await asyncio.sleep(0)
    return task


def leftovers() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def test_a_wait_ends_with_its_time(waiting: LongPolls, client: Client) -> None:
    assert await waits(waiting, client, 0.01)
    assert len(waiting) == 0


async def test_a_wait_ends_when_the_client_has_gone(waiting: LongPolls, client: Client) -> None:
    task = await begun(asyncio.create_task(waits(waiting, client)), waiting)
    client.left.set()
    assert await task
    await asyncio.sleep(0)
    assert leftovers() == []


async def test_all_waits_end_with_the_service_and_later_ones_at_once(waiting: LongPolls, client: Client) -> None:
    task = await begun(asyncio.create_task(waits(waiting, client)), waiting)
    waiting.end()
    assert await task
    assert await waits(waiting, client)
    await asyncio.sleep(0)
    assert leftovers() == []


async def test_a_block_that_ends_by_itself_is_no_wait_and_its_errors_are_its_own(
    waiting: LongPolls, client: Client
) -> None:
    async with waiting.place(client.receive, 20):
        pass
    with pytest.raises(TimeoutError):
        async with waiting.place(client.receive, 20):
            raise TimeoutError
    client.left.set()  # nobody hears of it any more
    await asyncio.sleep(0)
    assert (len(waiting), leftovers()) == (0, [])


async def test_a_caller_that_is_cancelled_is_cancelled(waiting: LongPolls, client: Client) -> None:
    task = await begun(asyncio.create_task(waits(waiting, client)), waiting)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(waiting) == 0


async def test_the_places_are_bounded(waiting: LongPolls) -> None:
    clients = [Client(), Client()]
    tasks = [asyncio.create_task(waits(waiting, one)) for one in clients]
    await begun(tasks[1], waiting, 2)
    with pytest.raises(Overloaded):
        await waits(waiting, Client())
    clients[0].left.set()
    await tasks[0]
    assert await waits(waiting, Client(), 0.001)
    waiting.end()
    await tasks[1]


# Event streams ---------------------------------------------------------------------------------------


def streamed(values: Values, waiting: LongPolls, client: Client, **options: Any) -> asyncio.Task[None]:
    app = EventStream("status", values(), waiting, **options).to_asgi_response()
    return asyncio.create_task(app({"type": "http"}, client.receive, client.send))


async def test_a_stream_sends_each_value_and_ends_with_them(waiting: LongPolls, client: Client) -> None:
    values = Values()
    task = streamed(values, waiting, client)
    for value in ({"a": 1}, {"a": "line\nbreak"}, None):
        values.queue.put_nowait(value)
    await task
    assert client.text == (
        f"retry: {events.RETRY_MS}\n\n"
        f'id: {event_id({"a": 1})}\nevent: status\ndata: {{"a":1}}\n\n'
        f'id: {event_id({"a": "line" + chr(10) + "break"})}\nevent: status\ndata: {{"a":"line\\nbreak"}}\n\n'
    )
    assert client.got[-1] == {"type": "http.response.body", "body": b""}
    assert values.closed


async def test_a_silent_stream_says_that_it_lives(
    waiting: LongPolls, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "COMMENT_EVERY", 0.001)
    values = Values()
    task = streamed(values, waiting, client)
    await client.has(":\n\n:\n\n")
    values.queue.put_nowait({"a": 1})
    await client.has('data: {"a":1}')  # what was waited for meanwhile is not lost
    values.queue.put_nowait(None)
    await task


async def test_a_client_that_goes_leaves_nothing_behind(waiting: LongPolls, client: Client) -> None:
    values = Values()
    task = streamed(values, waiting, client)
    values.queue.put_nowait({"a": 1})
    await client.has("data")
    client.left.set()
    await task
    await asyncio.sleep(0)
    assert (values.closed, len(waiting), leftovers()) == (True, 0, [])


async def test_a_client_that_takes_nothing_and_goes_leaves_nothing_behind_either(
    waiting: LongPolls, client: Client
) -> None:
    values = Values()
    client.takes.clear()
    task = streamed(values, waiting, client)
    await begun(task, waiting)
    client.left.set()
    async with asyncio.timeout(20):
        while len(waiting):
            await asyncio.sleep(0)
    client.takes.set()
    await task
    assert leftovers() == []


async def test_a_stream_that_cannot_go_on_ends_so_that_its_client_comes_back(
    waiting: LongPolls, client: Client
) -> None:
    values = Values()
    task = streamed(values, waiting, client)
    values.queue.put_nowait(RecordUnavailable("for the test"))
    await task
    assert client.got[-1] == {"type": "http.response.body", "body": b""}
    assert len(waiting) == 0


async def test_without_a_place_a_stream_does_not_begin(client: Client) -> None:
    values = Values()
    with pytest.raises(Overloaded):
        await streamed(values, LongPolls(places=0), client)
    assert client.got == []
