"""Services killed between a change's commit and its invalidation: who is left, or comes next, serves no old value."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import httpx
import pytest

from greenroom_platform.platform import DATABASE_FILE
from tests.support.patience import wait_for
from tests.support.process_tree import ON_LINUX, Process, workers
from tests.support.real_servers import Server
from tests.support.running_service import API, Serve, Service

SOON = 30.0
"""Seconds after which no old value may be served any more: some looks into the outbox, on a slow machine."""

ALONE = {"Connection": "close"}
"""For a request over a connection of its own, which any worker may take."""


class Snippet:
    """A snippet that an editor changes: its title counts the changes."""

    def __init__(self, service: Service, topic_id: str = "night") -> None:
        topic = {"display_name": "Night Radio", "description": "Voices after midnight.", "keywords": ["radio"]}
        service.client.put(f"{API}/topics/{topic_id}", json=topic, headers=service.editor).raise_for_status()
        self._body = {"topic_id": topic_id, "title": "0", "text_content": "Between two stations."}
        made = service.client.post(f"{API}/snippets", json=self._body, headers=service.editor).raise_for_status()
        self.path: str = made.headers["location"]
        self.key = f"cache:snippet:{made.json()['snippet_id']}"
        self._page = f"{API}/snippets?topic_id={topic_id}"
        wait_for(lambda: self.read(service) == {"0"} and self.hits(service))

    def change(self, service: Service, title: str = "1") -> None:
        """Change it, and return when that is answered."""
        put = service.client.put(self.path, json=self._body | {"title": title}, headers=service.editor | ALONE)
        put.raise_for_status()

    def read(self, service: Service) -> set[str]:
        """Its titles, as it is served itself and on its topic's page."""
        page = answer(service, self._page).json()
        (mine,) = (one["title"] for one in page if self.path.endswith(one["snippet_id"]))
        return {mine, answer(service, self.path).json()["title"]}

    def hits(self, service: Service) -> bool:
        """Whether both are answered from the cache."""
        statuses = [answer(service, path).headers["cache-status"] for path in (self.path, self._page)]
        return all(status.startswith("greenroom; hit") for status in statuses)


def answer(service: Service, path: str) -> httpx.Response:
    """What a read is answered, by whichever worker takes it."""
    return service.client.get(path, headers=ALONE).raise_for_status()


def degraded(service: Service) -> bool:
    """Whether the service knows that its Valkey is not to be had; from then on it sends it nothing."""
    status: str = answer(service, "/health/ready").json()["status"]
    return status == "degraded"


def committed(service: Service) -> bool:
    """Whether a change is in the record whose keys have not been dropped."""
    with closing(sqlite3.connect(service.data_dir / DATABASE_FILE)) as record:
        return bool(record.execute("SELECT count(*) FROM outbox").fetchone()[0])


@contextmanager
def meanwhile(snippet: Snippet, service: Service) -> Iterator[None]:
    """Change a snippet while the block runs; whether that is answered is nobody's concern."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(snippet.change, service)
        yield


def test_a_service_killed_after_its_commit_leaves_the_next_nothing_old(valkey: Server, serve: Serve) -> None:
    service = serve("--valkey-url", valkey.address)
    snippet = Snippet(service)
    with valkey.frozen():
        # Each connection finds out for itself: a drop that the caches' own one still takes is carried out at the thaw.
        wait_for(lambda: degraded(service) and not snippet.hits(service))
        with meanwhile(snippet, service):
            wait_for(lambda: committed(service))
            service.kill()
    assert b'"title":"0"' in valkey.raw()("GET", snippet.key), "nothing was dropped"
    assert snippet.read(serve("--valkey-url", valkey.address)) == {"1"}


@pytest.mark.parametrize("first", ["valkey", "service"])
def test_ten_changes_made_in_an_outage_before_a_kill_are_seen_afterwards(
    lasting: Server, serve: Serve, first: str
) -> None:
    service = serve("--valkey-url", lasting.address)
    snippets = [Snippet(service, f"night{number}") for number in range(10)]
    lasting.kill()
    for snippet in snippets:
        snippet.change(service)
    service.kill()
    if first == "valkey":
        lasting.start()
        assert all(b'"title":"0"' in lasting.raw()("GET", one.key) for one in snippets), "it has the old values again"
        service = serve("--valkey-url", lasting.address)
    else:
        service = serve("--valkey-url", lasting.address)
        assert degraded(service)
        lasting.start()
    for snippet in snippets:
        assert snippet.read(service) == {"1"}
    wait_for(lambda: all(snippet.hits(service) for snippet in snippets))
    for snippet in snippets:
        assert snippet.read(service) == {"1"}


def test_a_surviving_service_sends_the_invalidations_of_a_killed_one(valkey: Server, serve: Serve) -> None:
    valkey.raw()("ACL", "SETUSER", "mute", "on", ">secret", "~*", "+@all", "-del")  # whose changes stay unsent
    other = serve("--valkey-url", valkey.address, home="other")
    muted = valkey.address.replace("://", "://mute:secret@")
    one = serve("--valkey-url", muted, home="one", data_dir=other.data_dir)
    snippet = Snippet(other)
    snippet.change(one)
    assert "will be sent again" in one.output()
    one.kill()
    wait_for(lambda: snippet.read(other) == {"1"}, SOON)
    wait_for(lambda: snippet.hits(other))
    assert snippet.read(other) == {"1"}
    assert not committed(other)


# Two workers -----------------------------------------------------------------------------------------


@pytest.fixture
def pair(lasting: Server, serve: Serve) -> Service:
    """A service of two workers, both there."""
    service = serve("--workers", "2", "--valkey-url", lasting.address)
    wait_for(lambda: connected(lasting) == 2, 60)
    return service


def connected(server: Server) -> int:
    """Tracked connections to a server."""
    raw = server.raw()
    try:
        return int(raw("CLIENT", "LIST").count(b"name=greenroom-tracked"))
    finally:
        raw.close()


@contextmanager
def asleep(one: Process) -> Iterator[None]:
    """Stop a worker, so that the other has to do its work."""
    os.kill(one.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(one.pid, signal.SIGCONT)


@ON_LINUX
def test_a_worker_killed_after_its_commit_leaves_the_others_nothing_old(lasting: Server, pair: Service) -> None:
    victim, other = workers(pair.process.pid)
    snippet = Snippet(pair)
    with asleep(other), lasting.frozen():
        wait_for(lambda: degraded(pair))
        with meanwhile(snippet, pair):
            wait_for(lambda: committed(pair))
            os.kill(victim.pid, signal.SIGKILL)
    wait_for(lambda: not committed(pair), SOON)
    wait_for(lambda: connected(lasting) == 2, 60)
    for one in workers(pair.process.pid):
        with asleep(one):
            assert snippet.read(pair) == {"1"}
            wait_for(lambda: snippet.hits(pair))
            assert snippet.read(pair) == {"1"}


@ON_LINUX
def test_a_valkey_that_comes_back_old_serves_no_worker_an_old_value(lasting: Server, pair: Service) -> None:
    snippet = Snippet(pair)
    lasting.kill()
    snippet.change(pair)
    wait_for(lambda: all(snippet.read(pair) == {"1"} for _ in range(10)), SOON)
    lasting.start()
    wait_for(lambda: not committed(pair), SOON)
    wait_for(lambda: connected(lasting) == 2, 60)
    for one in workers(pair.process.pid):
        with asleep(one):
            assert snippet.read(pair) == {"1"}
            wait_for(lambda: snippet.hits(pair))
            assert snippet.read(pair) == {"1"}
