"""The whole under gunicorn, with two workers of four threads each, in development mode with warnings as errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import AsyncClient
from django.utils import timezone

from greenroom.integrations.django import room as room_of
from tests.support.django_server import Answer, Gunicorn
from tests.support.patience import wait_for
from tests.support.sync_rooms import together

pytestmark = pytest.mark.usefixtures("room")
ROUNDS = int(os.environ.get("ROUNDS", "25"))
"""Of requests that overlap, for each way of starting workers: `make test ROUNDS=1000 TESTS=…` makes more."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Gunicorn]:
    server = Gunicorn(tmp_path, SITE_OUTBOX_EVERY="0.2")
    yield server
    server.close()


@pytest.fixture
def user() -> str:
    model = get_user_model()
    model.objects.filter(username="ann").delete()
    model.objects.create_user("ann", password="secret")
    return "ann"


class Held:
    """A request that has read its session and waits for the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(f"{path}.loaded")
        os.mkfifo(f"{path}.go")

    def loaded(self) -> None:
        """Wait until the request has read its session."""
        with open(f"{self.path}.loaded") as told:
            assert told.read() == "loaded"

    def go(self) -> None:
        """Let it go on."""
        with open(f"{self.path}.go", "w") as go:
            go.write("go")


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["forked", "preloaded"])
def test_two_requests_that_overlap_keep_both_of_their_changes(
    site: Gunicorn, tmp_path: Path, options: tuple[str, ...]
) -> None:
    site.start(*options)
    browser = site.browser()
    assert browser.get("/session/first?value=0").status == 200
    assert browser.cookies
    first, second = Held(tmp_path / "a"), Held(tmp_path / "b")

    def release() -> None:
        first.loaded()
        second.loaded()  # both have read the session, and neither has saved it
        first.go()
        second.go()

    together(
        [
            lambda: browser.twin().get(f"/session/a?value=1&held={first.path}"),
            lambda: browser.twin().get(f"/session/b?value=2&held={second.path}"),
            release,
        ]
    )
    assert browser.get("/session").body["session"] == {"first": "0", "a": "1", "b": "2"}
    workers = set[int]()
    for number in map(str, range(ROUNDS)):
        calls: list[Callable[[], Answer]] = [
            lambda n=number, name=name: browser.twin().get(f"/session/{name}?value={n}")  # type: ignore[misc]
            for name in "abc"
        ]
        answers = together(calls)
        assert [one.status for one in answers] == [200] * 3
        workers |= {one.body["pid"] for one in answers}
        assert browser.get("/session").body["session"] == {"first": "0", "a": number, "b": number, "c": number}
    assert len(workers) == 2
    assert site.stop() == []


def test_a_request_that_overlaps_a_sign_out_brings_nothing_back(site: Gunicorn, tmp_path: Path, user: str) -> None:
    site.start()
    browser = site.browser()
    assert browser.get(f"/sign-in?name={user}").status == 200
    assert browser.get("/whoami").body == {"user": user}
    tab, held = browser.twin(), Held(tmp_path / "held")

    def sign_out() -> None:
        held.loaded()
        assert browser.twin().get("/sign-out").status == 200
        held.go()

    late, _ = together([lambda: tab.get(f"/session/late?value=1&held={held.path}"), sign_out])
    assert late.status == 400  # Django's SessionInterrupted
    assert browser.get("/whoami").body == {"user": ""}
    site.stop()  # it has logged the 400


def test_sessions_and_values_outlive_a_restart_and_end_all_ends_them(site: Gunicorn, user: str) -> None:
    site.start()
    here, phone = site.browser(), site.browser()
    for one in (here, phone):
        one.get(f"/sign-in?name={user}")
    assert here.get("/count").body["hits"] == 1
    assert site.stop() == []
    site.start("--preload")
    assert [one.get("/whoami").body["user"] for one in (here, phone)] == [user, user]
    assert sorted(one.body["hits"] for one in together([lambda: here.twin().get("/count")] * 8)) == list(range(2, 10))
    assert here.get("/sign-out-others").status == 200
    assert [one.get("/whoami").body["user"] for one in (here, phone)] == [user, ""]
    assert site.stop() == []


def test_a_change_in_one_worker_is_seen_by_all_and_what_is_left_is_sent(site: Gunicorn) -> None:
    from greenroom.integrations.django.models import OutboxRow
    from tests.support.django_site.models import Episode

    site.start()
    browser = site.browser()

    def titles() -> set[Any]:
        return {one.body["title"] for one in together([lambda: browser.twin().get("/s/1")] * 8)}

    assert titles() == {None}
    for title in ("one", "two"):
        assert browser.get(f"/s/1/rename?title={title}").status == 200
        wait_for(lambda title=title: titles() == {title})
    # Past the signals, as a process that died after its commit has left it.
    Episode.objects.filter(show="s").update(title="three")
    assert titles() == {"two"}
    OutboxRow.objects.create(key="episode:s:1", lifetime_ms=300_000, written_at=timezone.now() - timedelta(minutes=1))
    wait_for(lambda: not OutboxRow.objects.exists())
    wait_for(lambda: titles() == {"three"})
    assert site.stop() == []


async def test_an_async_view_uses_the_session_and_the_cache() -> None:
    client = AsyncClient()
    assert (await client.get("/async")).json() == {"cached": [1, 2], "seen": "here"}
    assert (await client.get("/session")).json()["session"] == {"seen": "here"}
    assert room_of() is room_of()
