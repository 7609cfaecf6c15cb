"""`greenroom serve --workers 3` on a server of its own: what one worker changes, ends or counts holds for all."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.patience import wait_for
from tests.support.people import COOKIE
from tests.support.process_tree import ON_LINUX, Process, below, workers
from tests.support.real_servers import Server, valkey_binary
from tests.support.running_service import API, KEPT, NO_TLS, TOKEN, Service

pytestmark = ON_LINUX

NUMBER = 3
TOPIC = {"display_name": "Tides", "description": "Ebb and flood.", "keywords": []}


@contextmanager
def served(directory: Path) -> Iterator[Service]:
    """A service of three workers, all of them ready."""
    server = Server(valkey_binary(), directory)
    server.start()
    env = {"GREENROOM_EDITOR_TOKEN": TOKEN, "GREENROOM_VALKEY_URL": server.address}
    flags = "--workers", str(NUMBER), "--work", "off", "--sample", "off"
    service = Service(directory, *flags, env=env)
    everyone = set[Process]()
    try:
        service.start()
        raw = server.raw()
        wait_for(lambda: raw("CLIENT", "LIST").count(b"name=greenroom-tracked") == NUMBER, 60)
        service.client.put(f"{API}/topics/tides", json=TOPIC, headers=service.editor).raise_for_status()
        everyone = below(service.process.pid)
        yield service
    finally:
        service.kill()
        wait_for(lambda: not any(one.lives for one in everyone), 40)
        server.kill()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all tests that leave it as it is."""
    with served(tmp_path_factory.mktemp("workers")) as service:
        yield service


@contextmanager
def alone(service: Service, one: Process) -> Iterator[None]:
    """Stop the other workers: whoever connects now is this one's."""
    others = workers(service.process.pid) - {one}
    for other in others:
        os.kill(other.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for other in others:
            os.kill(other.pid, signal.SIGCONT)


class At:
    """A client of one worker: it keeps its connection, and makes another to the same where that was closed."""

    def __init__(self, service: Service, worker: Process) -> None:
        self._service = service
        self._worker = worker
        self._client = httpx.Client(
            base_url=service.url, timeout=30, headers=service.editor, verify=NO_TLS, limits=KEPT
        )
        self._port: object = None

    def __call__(self, method: str, path: str, **options: object) -> httpx.Response:
        if self._port is not None and method == "GET":
            answer = self._client.request(method, path, **options)  # type: ignore[arg-type]
            if self._at(answer) == self._port:
                return answer
        self._client.close()
        self._client = httpx.Client(
            base_url=self._service.url, timeout=30, headers=self._service.editor, verify=NO_TLS, limits=KEPT
        )
        with alone(self._service, self._worker):
            answer = self._client.request(method, path, **options)  # type: ignore[arg-type]
        self._port = self._at(answer)
        return answer

    def wherever(self, method: str, path: str, **options: object) -> httpx.Response:
        """A request that may reach another worker, where the connection was closed meanwhile; nobody is stopped."""
        return self._client.request(method, path, **options)  # type: ignore[arg-type]

    def near(self, path: str) -> bool:
        """Whether the next read is answered from what the worker keeps."""
        return self("GET", path).headers["cache-status"] == "greenroom; hit; detail=near"

    def close(self) -> None:
        self._client.close()

    @staticmethod
    def _at(answer: httpx.Response) -> object:
        return answer.extensions["network_stream"].get_extra_info("client_addr")


@pytest.fixture
def each(service: Service) -> Iterator[list[At]]:
    """A client of each worker."""
    clients = [At(service, one) for one in sorted(workers(service.process.pid))]
    assert len(clients) == NUMBER
    yield clients
    for client in clients:
        client.close()


def test_a_change_in_one_worker_is_the_next_read_of_every_worker(each: list[At]) -> None:
    path = f"{API}/topics/tides"
    for number, writer in enumerate(each):
        for reader in each:
            wait_for(lambda reader=reader: reader.near(path), 30)
        changed = TOPIC | {"description": f"Flood {number}."}
        assert writer("PUT", path, json=changed).status_code == 200
        for reader in each:
            assert reader("GET", path).json()["description"] == f"Flood {number}."


def counted(scraper: At, metric: str) -> float:
    """The sum of a metric over its labels, in one scrape."""
    text = scraper("GET", "/metrics").text
    return sum(float(number) for number in re.findall(rf"^{metric}(?:{{.*}})? ([0-9.e+]+)$", text, re.MULTILINE))


@pytest.mark.parametrize("metric", ["greenroom_cache_reads_total", "greenroom_engine_command_seconds_count"])
def test_one_scrape_tells_of_all_whoever_is_asked(each: list[At], metric: str) -> None:
    before = max(counted(one, metric) for one in each)
    for one in each:
        for number in range(10):
            assert one("GET", f"{API}/topics/none{number}{one._worker.pid}").status_code == 404
    for one in each:
        # The others tell once a second: a scrape may be so far behind, and never falls back.
        wait_for(lambda one=one: counted(one, metric) >= before + 10 * NUMBER, 30)
    found = [counted(one, "greenroom_sessions_active") for one in each]
    assert len(set(found)) == 1, "a state, and not three of them added up"


# Sockets ----------------------------------------------------------------------------------------------


@contextmanager
def sockets(service: Service, cookie: str) -> Iterator[list[ClientConnection]]:
    """A listener of one session at each worker, all of one podcast that is never made."""
    podcast = service.client.post(f"{API}/podcasts/generate", json={"topic_id": "tides"}).json()
    url = service.url.replace("http", "ws") + podcast["stream_url"]
    headers = {"Cookie": f"{COOKIE}={cookie}"}
    with ExitStack() as stack:
        opened = []
        for one in sorted(workers(service.process.pid)):
            with alone(service, one):
                opened.append(stack.enter_context(connect(url, additional_headers=headers, proxy=None)))
        yield opened


def code(socket: ClientConnection, seconds: float = 40) -> int | None:
    """What a socket is closed with."""
    try:
        while True:
            socket.recv(timeout=seconds)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else None


def begun(service: Service) -> str:
    """The token of a new session."""
    with httpx.Client(base_url=service.url, timeout=30, verify=NO_TLS, limits=KEPT) as client:
        client.patch(f"{API}/session/preferences", json={}).raise_for_status()
        return client.cookies[COOKIE]


def test_a_session_ended_through_one_closes_its_sockets_at_all(service: Service, each: list[At]) -> None:
    token, bystander = begun(service), begun(service)
    with sockets(service, token) as ended, sockets(service, bystander) as others:
        for one in each:
            # Its connection has outlived the stop, in which it was silent: else it would be made anew only now, and
            # whoever makes one looks at each session again.
            wait_for(lambda one=one: one.near(f"{API}/topics/tides"), 30)
        answer = each[1].wherever(
            "DELETE", f"{API}/session", headers={"Cookie": f"{COOKIE}={token}", "Authorization": ""}
        )
        assert answer.status_code == 204
        # Long before each would find out by itself, as it says after 30 s that it still listens.
        assert [code(socket, 12) for socket in ended] == [4401] * NUMBER
        for socket in others:
            socket.ping().wait(30)


def test_sigterm_drains_all_workers_and_tells_each_listener(tmp_path: Path) -> None:
    with served(tmp_path) as service, sockets(service, begun(service)) as opened:
        everyone = workers(service.process.pid)
        assert service.stop(signal.SIGTERM) == 0
        assert [code(socket) for socket in opened] == [1001] * NUMBER
        wait_for(lambda: not any(one.lives for one in everyone), 30)
        assert "Traceback" not in service.output()


def test_a_killed_worker_is_reported_and_another_takes_its_place(service: Service) -> None:
    before = workers(service.process.pid)
    victim = min(before)
    os.kill(victim.pid, signal.SIGKILL)
    wait_for(lambda: len(workers(service.process.pid) - {victim}) == NUMBER, 60)
    assert f"worker {victim.pid} ended with status -9 and is replaced" in service.output()
    (successor,) = workers(service.process.pid) - before
    client = At(service, successor)
    assert client("GET", f"{API}/topics/tides").status_code == 200
    wait_for(lambda: client.near(f"{API}/topics/tides"), 30)
    client.close()
