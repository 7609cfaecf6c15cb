"""Progress is declared once: what cannot be, or differs from what was declared before, is refused by name."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pytest

from greenroom import Greenroom, Keyspace
from greenroom.errors import InvalidInput
from greenroom.progress import Order
from greenroom.progress.jobs import check_jobs
from tests.support.real_servers import Server

MINUTES = timedelta(minutes=5)
ORDER = Order("queued", "ready", failure="error")


class Show(msgspec.Struct, frozen=True):
    show_id: str
    status: str = "queued"


class Step(msgspec.Struct, frozen=True):
    state: str


STEP = Keyspace("step:{id}", Step, ttl=MINUTES)


async def load_step(id: str) -> Step:
    return Step("queued")


def state(step: Step) -> str:
    return step.state


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no order": ({"order": 3, "status": state}, "order", "is 3"),
    "no function": ({"order": ORDER, "status": "state"}, "status", "is 'state'"),
    "no member status": ({"order": ORDER}, "status", "Step has no member of this name"),
}


@pytest.mark.parametrize("name", WRONG)
def test_progress_that_cannot_be_is_refused_at_its_declaration(name: str) -> None:
    options, field, reason = WRONG[name]
    room = Greenroom(sessions=False)
    with pytest.raises(InvalidInput) as caught:
        room.progress(STEP, load=lambda id: Step("queued"), **options)
    assert (caught.value.field, caught.value.reason) == (field, reason)
    assert list(room._caches) == []


def test_the_member_status_is_found_in_every_kind_of_type() -> None:
    class Typed(TypedDict):
        state: str

    class Property(msgspec.Struct, frozen=True):
        state: str

        @property
        def status(self) -> str:
            return self.state

    @dataclass(frozen=True)
    class Data:
        status: str

    for has in (Show, Property, Data, Annotated[Show, "of a show"]):
        check_jobs(Keyspace("status:{id}", has, ttl=MINUTES), ORDER, None)  # type: ignore[arg-type]
    for has_not in (Step, Typed, dict[str, str], str, list[Show], Annotated[Step, "without"]):
        with pytest.raises(InvalidInput, match=r"status: .* has no member of this name"):
            check_jobs(Keyspace("status:{id}", has_not, ttl=MINUTES), ORDER, None)  # type: ignore[arg-type]


class Word(enum.Enum):
    QUEUED = "queued"
    READY = "ready"


class TextWord(enum.StrEnum):
    QUEUED = "queued"
    CANCELLED = "cancelled"


class Number(enum.IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (Word, None),
        (Literal["queued", "error", None], None),
        (Literal["queued"] | str, None),
        (TextWord, "'cancelled'"),
        (Number, "1"),
        (Literal["queued", "finished"], "'finished'"),
        (Annotated[TextWord | msgspec.UnsetType, "of a job"], "'cancelled'"),
    ],
)
def test_a_status_that_can_be_no_step_is_refused(status: Any, word: str | None) -> None:
    type_ = msgspec.defstruct("Job", [("status", status)], frozen=True)
    keyspace = Keyspace("status:{id}", type_, ttl=MINUTES)
    if word is None:
        check_jobs(keyspace, ORDER, None)
    else:
        with pytest.raises(InvalidInput, match=f"status: {word} of Job is not a step of Order"):
            check_jobs(keyspace, ORDER, None)
    check_jobs(keyspace, ORDER, lambda job: "queued")


class Worded(msgspec.Struct, frozen=True):
    status: Word | None


@pytest.mark.parametrize("status", [None, lambda job: job.status])
async def test_a_status_of_an_enum_goes_forward_and_ends(valkey: Server, status: Any) -> None:
    record = Worded(Word.QUEUED)

    async def load_word(id: str) -> Worded:
        return record

    async with Greenroom(valkey.address, sessions=False) as room, asyncio.timeout(30):
        jobs = room.progress(Keyspace("word:{id}", Worded, ttl=MINUTES), load=load_word, order=ORDER, status=status)
        following = jobs.follow("a")
        seen = [await anext(following)]
        for word in (None, Word.READY):
            record = Worded(word)
            await jobs.cache.invalidate("a")
            assert await jobs.get("a") == record
        seen += [one async for one in following]
        assert seen == [Worded(Word.QUEUED), Worded(Word.READY)]
        last = await jobs.sse("a")
        assert last is not None
        (event_id,) = [part.split(b"\n")[0][4:].decode() async for part in last if part.startswith(b"id: ")]
        again = await jobs.sse("a", last_event_id=event_id)
        assert again is not None
        assert again.status == 204


async def test_a_status_that_is_no_text_is_said_by_name(valkey: Server) -> None:
    async with Greenroom(valkey.address, sessions=False) as room:
        jobs = room.progress(STEP, load=load_step, order=ORDER, status=lambda step: 3)  # type: ignore[arg-type, return-value]
        with pytest.raises(InvalidInput, match="status: is int in a value"):
            await anext(jobs.follow("a"))


async def test_progress_declared_again_is_the_same_or_is_refused_by_name(valkey: Server) -> None:
    room = Greenroom(valkey.address, sessions=False)
    jobs = room.progress(STEP, load=load_step, order=ORDER, status=state)
    assert room.progress(STEP, load=load_step, order=Order("queued", "ready", failure="error"), status=state) is jobs
    for order, status, field in ((Order("ready", failure="error"), state, "order"), (ORDER, lambda step: "", "status")):
        with pytest.raises(InvalidInput) as caught:
            room.progress(STEP, load=load_step, order=order, status=status)
        assert caught.value.field == field
    async with room:
        with pytest.raises(InvalidInput, match="order"):
            room.progress(STEP, load=load_step, order=Order("ready", failure="error"), status=state)
