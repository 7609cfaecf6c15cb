"""Progress is declared once: what cannot be, or differs from what was declared before, is refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, TypedDict

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
