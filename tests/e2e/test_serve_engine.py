"""`greenroom serve` and its Valkey: killed under load, never there, shared by two services."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.patience import wait_for
from tests.support.process_tree import ON_LINUX, Process, servers, the_server
from tests.support.real_servers import Server, free_port
from tests.support.running_service import API, KEPT, NO_TLS, Serve, Service

BYPASS = "greenroom; fwd=bypass; detail=engine-down"
TOPIC = {"display_name": "Night Radio", "description": "Voices after midnight.", "keywords": ["radio"]}
SNIPPET = {"topic_id": "night", "title": "Static", "text_content": "Between two stations there is a third."}


def hits(service: Service, path: str) -> bool:
    """Whether a read is answered from the cache."""
    answer = service.client.get(path)
    assert answer.status_code == 200
    return answer.headers["cache-status"].startswith("greenroom; hit")


def first_page(service: Service) -> str:
    """The path of a page that holds something."""
    (topic, *_) = service.client.get(f"{API}/topics").json()
    return f"{API}/snippets?topic_id={topic['topic_id']}"


class Load:
    """Threads that read without a pause, each over a connection of its own, and keep what came back."""

    def __init__(self, url: str, path: str, threads: int = 4) -> None:
        self._url = url + path
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._read) for _ in range(threads)]
        self.answers: list[tuple[int, str]] = []
        self.failures: list[Exception] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def saw(self, status: str, since: int = 0) -> bool:
        """Whether an answer of this cache status has come since so many answers."""
        return any(one.startswith(status) for _, one in self.answers[since:])

    def _read(self) -> None:
        with httpx.Client(timeout=30, verify=NO_TLS, limits=KEPT) as client:
            while not self._ended.is_set():
                try:
                    answer = client.get(self._url)
                except httpx.HTTPError as error:
                    self.failures.append(error)
                else:
                    self.answers.append((answer.status_code, answer.headers.get("cache-status", "")))


@contextmanager
def held_down(data_dir: Path) -> Iterator[None]:
    """Kill the server of a directory, and keep its lock, so that nobody can start another."""
    lock = os.open(data_dir / "valkey.lock", os.O_RDWR)

    def ours() -> bool:
        for one in servers(data_dir):
            os.kill(one.pid, signal.SIGKILL)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    try:
        wait_for(ours, 30)
        yield
    finally:
        os.close(lock)


@ON_LINUX
def test_a_valkey_killed_under_load_is_bypassed_and_replaced(serve: Serve) -> None:
    service = serve(hurried=True)
    page = first_page(service)
    with Load(service.url, page) as load:
        wait_for(lambda: load.saw("greenroom; hit"), 30)
        with held_down(service.data_dir):
            wait_for(lambda: load.saw(BYPASS), 30)
            assert service.client.get("/health/ready").json()["status"] == "degraded"
        healed = len(load.answers)
        wait_for(lambda: load.saw("greenroom; hit", healed), 60)
    assert not load.failures
    assert {status for status, _ in load.answers} == {200}
    wait_for(lambda: service.client.get("/health/ready").json()["status"] == "ok", 60)
    assert len(servers(service.data_dir)) == 1
    assert "Traceback" not in service.output()


@ON_LINUX
def test_a_valkey_killed_again_and_again_under_load_costs_no_answer(serve: Serve) -> None:
    service = serve(hurried=True)
    with Load(service.url, first_page(service)) as load:
        killed: set[Process] = set()
        for _ in range(3):
            wait_for(lambda: servers(service.data_dir) - killed, 30)
            victim = the_server(service.data_dir)
            killed.add(victim)
            os.kill(victim.pid, signal.SIGKILL)
            answered = len(load.answers)
            wait_for(lambda since=answered: load.saw("greenroom; hit", since), 60)
    assert not load.failures
    assert {status for status, _ in load.answers} == {200}


@ON_LINUX
def test_an_edit_made_while_valkey_is_down_is_what_is_read_when_it_is_back(serve: Serve) -> None:
    service = serve(hurried=True)
    page = first_page(service)
    (snippet, *_) = service.client.get(page).json()
    path = f"{API}/snippets/{snippet['snippet_id']}"
    service.client.get(path)
    wait_for(lambda: hits(service, path), 30)
    with held_down(service.data_dir):
        edited = snippet | {"title": "Edited in the dark"}
        assert service.client.put(path, json=edited, headers=service.editor).status_code == 200
        assert service.client.get(path).json()["title"] == "Edited in the dark"
    wait_for(lambda: service.client.get("/health/ready").json()["status"] == "ok", 60)
    for _ in range(20):
        assert service.client.get(path).json()["title"] == "Edited in the dark"
    assert service.client.get(page).json()[0]["title"] == "Edited in the dark"


def test_without_its_valkey_it_starts_says_so_and_is_ready_but_degraded(serve: Serve) -> None:
    address = f"valkey://127.0.0.1:{free_port()}"
    service = serve("--valkey-url", address)
    assert f"caches      {address}, also for sessions" in service.output()
    assert f"starting anyway: cannot use the server of the caches and sessions: {address}: " in service.output()
    assert "topics and snippets are read from the database and nobody can sign in" in service.output()
    assert f"cannot use the server at {address} for cached values: " in service.output()
    ready = service.client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"], ready.json()["database"]) == (200, "degraded", "ok")
    assert "refused" in ready.json()["engine"]
    answer = service.client.get(first_page(service))
    assert (answer.status_code, len(answer.json())) == (200, 20)
    assert answer.headers["cache-status"] == BYPASS
    assert service.stop() == 0


def test_a_valkey_that_comes_later_is_used(valkey: Server, serve: Serve) -> None:
    valkey.kill()
    service = serve("--valkey-url", valkey.address)
    page = first_page(service)
    assert service.client.get(page).headers["cache-status"] == BYPASS
    valkey.start()
    wait_for(lambda: hits(service, page), 60)
    wait_for(lambda: service.client.get("/health/ready").json()["status"] == "ok", 60)


@ON_LINUX
def test_two_services_on_one_directory_share_one_valkey_and_their_edits(tmp_path: Path, serve: Serve) -> None:
    one, other = two_services(serve, tmp_path / "data")
    assert len(servers(one.data_dir)) == 1
    one.client.put(f"{API}/topics/night", json=TOPIC, headers=one.editor).raise_for_status()
    made = one.client.post(f"{API}/snippets", json=SNIPPET, headers=one.editor).raise_for_status()
    path, page = made.headers["location"], f"{API}/snippets?topic_id=night"
    for number, (writer, reader) in enumerate([(one, other), (other, one)] * 3):
        for held in (path, page):
            wait_for(lambda reader=reader, held=held: hits(reader, held))  # the reader holds the old one
        edited = SNIPPET | {"title": f"Edit {number}"}
        writer.client.put(path, json=edited, headers=writer.editor).raise_for_status()
        assert reader.client.get(path).json()["title"] == f"Edit {number}"
        assert reader.client.get(page).json()[0]["title"] == f"Edit {number}"


@ON_LINUX
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_of_two_services_the_one_that_remains_takes_the_valkey_over(tmp_path: Path, serve: Serve, number: int) -> None:
    one, other = two_services(serve, tmp_path / "data")
    page = first_page(other)
    first = the_server(one.data_dir)
    one.process.send_signal(number)
    one.process.wait(60)
    wait_for(lambda: not first.lives, 30)
    wait_for(lambda: hits(other, page), 60)
    second = the_server(other.data_dir)
    assert second != first
    assert other.stop() == 0
    assert not second.lives


def two_services(serve: Serve, data_dir: Path) -> tuple[Service, Service]:
    """Two services on one data directory; the first has started the Valkey."""
    one = serve(home="one", data_dir=data_dir, hurried=True)
    return one, serve(home="other", data_dir=data_dir, hurried=True)
