"""Watchers for changes made outside that are killed or stand still: another one takes over, and no change is lost."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial

import pytest

from greenroom_platform.platform import DATABASE_FILE
from tests.support.patience import wait_for
from tests.support.real_servers import Server
from tests.support.running_service import API, Serve, Service

PLACE = "greenroom:leader:{changes}"
_COUNT = re.compile(r'greenroom_foreign_changes_total\{event="(\w+)"\} ([0-9.]+)')


def counts(service: Service) -> dict[str, float]:
    """What a service has counted of changes made outside."""
    page = service.client.get("/metrics").raise_for_status().text
    return {event: float(number) for event, number in _COUNT.findall(page)}


def leads(service: Service) -> bool:
    """Whether a service has begun to watch."""
    return counts(service)["resume"] >= 1


class Outside:
    """Another program on the file of a service: it renames a snippet of the sample again and again."""

    def __init__(self, service: Service) -> None:
        self._path = service.data_dir / DATABASE_FILE
        first = service.client.get(f"{API}/snippets").raise_for_status().json()[0]
        self._snippet_id, self._topic_id = first["snippet_id"], first["topic_id"]
        self.title = first["title"]

    def write(self, title: str) -> None:
        """Commit a new title; whoever reads it later must be told it."""
        with self._opened() as record:
            query = "SELECT document FROM snippets WHERE snippet_id = ?"
            (text,) = record.execute(query, (self._snippet_id,)).fetchone()
            changed = json.dumps(json.loads(text) | {"title": title})
            row = changed, self._snippet_id
            record.execute("UPDATE snippets SET document = ? WHERE snippet_id = ?", row)
            record.commit()
        self.title = title

    def is_served(self, service: Service) -> bool:
        """Whether a service serves the newest title, by itself and on the page of its topic."""
        one = service.client.get(f"{API}/snippets/{self._snippet_id}").raise_for_status().json()["title"]
        page = service.client.get(f"{API}/snippets?topic_id={self._topic_id}").raise_for_status().json()
        (listed,) = (found["title"] for found in page if found["snippet_id"] == self._snippet_id)
        return bool(one == listed == self.title)

    def waiting(self) -> int:
        """Changes that no watcher has acknowledged."""
        with self._opened() as record:
            (count,) = record.execute("SELECT count(*) FROM foreign_changes").fetchone()
        return int(count)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=20)) as record:
            yield record


@pytest.fixture
def pair(lasting: Server, serve: Serve) -> tuple[Service, Service]:
    """Two services on one record and one server: the one that watches, and the other."""
    one = serve("--valkey-url", lasting.address, home="one")
    other = serve("--valkey-url", lasting.address, home="other", data_dir=one.data_dir)
    wait_for(lambda: leads(one) or leads(other))
    return (one, other) if leads(one) else (other, one)


def test_one_of_two_services_watches(pair: tuple[Service, Service]) -> None:
    outside = Outside(pair[1])
    before = [counts(one) for one in pair]
    for attempt in range(20):
        for number in range(6):
            outside.write(f"Number {attempt}.{number}")
            wait_for(lambda: all(outside.is_served(one) for one in pair))
        after = [counts(one) for one in pair]
        noticed = [now["change"] - then["change"] for then, now in zip(before, after, strict=True)]
        # One that stands still for a second loses its place: nothing is said of such a round.
        if [one["resume"] for one in before] == [one["resume"] for one in after]:
            break
        before = after
    assert sorted(noticed) == [0, 6]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_another_service_takes_over_from_a_dead_or_frozen_watcher(
    pair: tuple[Service, Service], how: signal.Signals, record_property: Callable[[str, object], None]
) -> None:
    leader, other = pair
    outside = Outside(other)
    wait_for(lambda: outside.is_served(other))
    began = time.monotonic()
    leader.process.send_signal(how)
    try:
        outside.write("After its end")
        wait_for(lambda: leads(other))
        record_property("figure", f"a watcher was replaced {time.monotonic() - began:.2f} s after {how.name}")
        wait_for(lambda: outside.is_served(other))
    finally:
        if how is signal.SIGSTOP:
            leader.process.send_signal(signal.SIGCONT)
    if how is signal.SIGSTOP:
        outside.write("Once it goes on")
        wait_for(lambda: outside.is_served(leader) and outside.is_served(other))
        wait_for(lambda: not outside.waiting())


def test_a_service_that_ends_in_order_gives_its_place_up_at_once(
    pair: tuple[Service, Service], lasting: Server
) -> None:
    (leader, other), raw = pair, lasting.raw()
    # Otherwise it may take the place of a leader that stands still for a second.
    other.process.send_signal(signal.SIGSTOP)
    try:
        raw("DEL", PLACE)
        wait_for(lambda: raw("EXISTS", PLACE))
        leader.stop()
        assert not raw("EXISTS", PLACE)
    finally:
        other.process.send_signal(signal.SIGCONT)
    wait_for(lambda: leads(other))


def test_a_change_made_while_nobody_runs_is_served_after_the_start(lasting: Server, serve: Serve) -> None:
    service = serve("--valkey-url", lasting.address)
    outside = Outside(service)
    wait_for(lambda: outside.is_served(service))
    service.kill()
    outside.write("While nobody ran")
    again = serve("--valkey-url", lasting.address)
    wait_for(lambda: outside.is_served(again))
    wait_for(lambda: not outside.waiting())


def test_service_and_valkey_killed_in_turn_lose_no_change_made_outside(lasting: Server, serve: Serve) -> None:
    service = serve("--valkey-url", lasting.address)
    outside = Outside(service)
    for number in range(3):
        wait_for(partial(outside.is_served, service))
        if number % 2:
            service.kill()
            outside.write(f"Without a service, {number}")
            service = serve("--valkey-url", lasting.address)
        else:
            lasting.kill()
            outside.write(f"Without Valkey, {number}")
            lasting.start()  # it may have the old values again
        wait_for(partial(outside.is_served, service), 60)
        wait_for(lambda: not outside.waiting(), 60)
    assert all(outside.is_served(service) for _ in range(20))
