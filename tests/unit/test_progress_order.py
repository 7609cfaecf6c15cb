"""The order of a status: forward only, over every pair."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from greenroom.errors import InvalidInput
from greenroom.progress import Order
from greenroom_platform.models import STATUSES

KNOWN = ("queued", "script_generating", "audio_rendering", "ready_to_stream", "error")


def test_a_podcast_moves_forward_and_can_fail_at_any_step_but_the_last() -> None:
    assert [STATUSES.rank(status) for status in KNOWN] == [0, 1, 2, 3, 4]
    assert [status for status in KNOWN if STATUSES.ended(status)] == ["ready_to_stream", "error"]
    assert all(status in STATUSES for status in KNOWN)


def test_a_status_that_others_made_up_is_behind_every_other_and_no_end() -> None:
    assert "paused" not in STATUSES
    assert STATUSES.rank("paused") == -1
    assert not STATUSES.ended("paused")


def test_what_is_shown_never_goes_back_and_nothing_follows_an_end() -> None:
    order = ("paused", *KNOWN)
    for shown, told in product(order, repeat=2):
        ended = shown in ("ready_to_stream", "error")
        expected = shown if ended or order.index(told) < order.index(shown) else told
        assert STATUSES.furthest(shown, told) == expected
    assert STATUSES.furthest("audio_rendering", "error") == "error"
    assert STATUSES.furthest("ready_to_stream", "error") == "ready_to_stream"
    assert STATUSES.furthest("error", "ready_to_stream") == "error"


@pytest.mark.parametrize(
    ("steps", "failure", "reason"),
    [
        ((), "failed", "has no steps"),
        (("queued", "queued"), "failed", "names 'queued' twice"),
        (("queued", "failed"), "failed", "names 'failed' twice"),
        (("queued", 2), "failed", "2 is not a status"),
        (("queued", ["done"]), "failed", "['done'] is not a status"),
        (("queued", ""), "failed", "'' is not a status"),
        (("queued", "done"), None, "None is not a status"),
    ],
)
def test_an_order_that_cannot_be_is_refused(steps: tuple[Any, ...], failure: Any, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Order(*steps, failure=failure)
    assert (caught.value.field, caught.value.reason) == ("order", reason)


def test_two_orders_of_the_same_steps_are_equal() -> None:
    one, same = (Order("queued", "done", failure="failed") for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert repr(one) == "Order('queued', 'done', failure='failed')"
    for other in (Order("done", failure="failed"), Order("queued", "done", failure="error"), ("queued", "done")):
        assert one != other
