"""The order of a status: forward only, over every pair."""

from __future__ import annotations

from itertools import product

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
