"""`greenroom serve` from its first line to its last: banner, sample, draining, and what it leaves behind."""

from __future__ import annotations

import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from greenroom_platform.http.app import create_app
from greenroom_platform.http.settings import Settings
from tests.support.patience import wait_for
from tests.support.process_tree import ON_LINUX, Process, below, process, servers
from tests.support.real_servers import Server
from tests.support.running_service import API, TOKEN, Serve, Service, running

TOPIC = {"display_name": "Night Radio", "description": "Voices after midnight.", "keywords": ["radio"]}
SNIPPET = {"topic_id": "night", "title": "Static", "text_content": "Between two stations there is a third."}


def topic_ids(service: Service) -> list[str]:
    return [topic["topic_id"] for topic in service.client.get(f"{API}/topics").json()]


def add_snippet(service: Service) -> str:
    """A topic of our own with one snippet; returns the snippet's path."""
    service.client.put(f"{API}/topics/night", json=TOPIC, headers=service.editor).raise_for_status()
    answer = service.client.post(f"{API}/snippets", json=SNIPPET, headers=service.editor)
    return str(answer.raise_for_status().headers["location"])


def edit(service: Service, path: str, title: str) -> None:
    service.client.put(path, json=SNIPPET | {"title": title}, headers=service.editor).raise_for_status()


# What it says ---------------------------------------------------------------------------------------


def test_it_prints_where_everything_is_the_token_too_and_how_to_stop(serve: Serve) -> None:
    service = serve("--sample", "off", env={}, executed=True)
    address, caches, database, recordings, editors, again = service.output().splitlines()[:6]
    assert service.url in address
    assert "Ctrl-C stops it" in address
    assert f"a Valkey of its own, with its files in {service.data_dir}, also for sessions" in caches
    assert f"SQLite, {service.data_dir / 'greenroom.sqlite3'}" in database
    assert recordings.endswith(f"in {service.data_dir}")
    file = service.data_dir / "editor-token"
    assert editors.endswith(f'change topics and snippets with the header "Authorization: Bearer $(cat {file})"')
    assert "GREENROOM_EDITOR_TOKEN" in again
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert service.token not in service.output()
    assert service.client.put(f"{API}/topics/night", json=TOPIC, headers=service.editor).status_code == 201


def test_neither_a_given_token_nor_a_password_is_printed(valkey: Server, serve: Serve) -> None:
    valkey.raw()("CONFIG", "SET", "requirepass", "opensesame")
    address = valkey.address.replace("valkey://", "redis://:opensesame@")
    service = serve("--valkey-url", address, "--log-level", "debug")

    def hits() -> bool:
        return str(service.client.get(f"{API}/topics").headers["cache-status"]).startswith("greenroom; hit")

    wait_for(hits)  # after a miss, or a server that stood still
    service.stop()
    assert f"redis://default@127.0.0.1:{valkey.port}, also for sessions" in service.output()
    assert "valkey://" not in service.output(), "the address is repeated as it was written"
    assert TOKEN not in service.output()
    assert "opensesame" not in service.output()


# What it holds --------------------------------------------------------------------------------------


def test_an_empty_embedded_database_gets_the_sample_once(serve: Serve) -> None:
    service = serve()
    sample = topic_ids(service)
    assert len(sample) >= 12
    page = service.client.get(f"{API}/snippets", params={"topic_id": sample[0]}).json()
    assert len(page) == 20
    service.client.delete(f"{API}/snippets/{page[0]['snippet_id']}", headers=service.editor).raise_for_status()
    service.stop()
    service.start()
    assert service.client.get(f"{API}/snippets/{page[0]['snippet_id']}").status_code == 404


def test_there_is_no_sample_where_it_is_switched_off_or_something_is_there(serve: Serve) -> None:
    off = serve("--sample", "off")
    assert topic_ids(off) == []
    off.client.put(f"{API}/topics/night", json=TOPIC, headers=off.editor).raise_for_status()
    off.stop()
    assert topic_ids(serve()) == ["night"]


def test_there_is_no_sample_in_a_database_that_is_named(tmp_path: Path, serve: Serve) -> None:
    service = serve("--database-url", f"sqlite:{tmp_path / 'mine.sqlite3'}")
    assert topic_ids(service) == []
    assert f"sqlite:{tmp_path / 'mine.sqlite3'}" in service.output()


def test_starting_again_finds_what_was_edited_and_shows_it_at_once(serve: Serve) -> None:
    service = serve("--sample", "off")
    path = add_snippet(service)
    assert service.client.get(path).json()["title"] == "Static"
    edit(service, path, "Edited before the end")
    service.stop()
    service.start()
    assert service.client.get(path).json()["title"] == "Edited before the end"
    edit(service, path, "Edited before the crash")
    service.kill()
    service.start()
    assert service.client.get(path).json()["title"] == "Edited before the crash"


def test_the_data_directory_is_this_user_s_alone(serve: Serve) -> None:
    service = serve()
    assert service.data_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("flags", [["--valkey-url"], ["--cache-url", "--session-url"]])
def test_a_service_without_embedded_parts_leaves_the_data_directory_alone(
    tmp_path: Path, valkey: Server, serve: Serve, flags: list[str]
) -> None:
    database = f"sqlite:{tmp_path / 'mine.sqlite3'}"
    urls = [word for flag in flags for word in (flag, valkey.address)]
    recordings = str(tmp_path / "recordings")
    service = serve(*urls, "--database-url", database, "--recordings-url", recordings)
    assert topic_ids(service) == []
    assert not service.data_dir.exists()


@ON_LINUX
def test_with_a_cache_server_alone_sessions_are_in_the_embedded_one(valkey: Server, serve: Serve) -> None:
    service = serve("--cache-url", valkey.address)
    assert service.client.patch(f"{API}/session/preferences", json={"playback_speed_default": 2}).status_code == 200
    assert topic_ids(service)
    kept, cached = service.raw()("KEYS", "*"), valkey.raw()("KEYS", "*")
    assert any(key.startswith(b"session:") for key in kept)
    assert not any(key.startswith(b"cache:") for key in kept)
    assert any(key.startswith(b"cache:") for key in cached)
    assert not any(key.startswith(b"session:") for key in cached)


# How it ends ----------------------------------------------------------------------------------------


@ON_LINUX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_main_process_leaves_no_process_behind(serve: Serve, number: int) -> None:
    service = serve()
    everyone = {process(service.process.pid)} | below(service.process.pid) | servers(service.data_dir)
    assert len(everyone) == 2, "the service and its Valkey"
    assert service.stop(number) == 0
    assert not [one for one in everyone if one.lives]
    assert not servers(service.data_dir)
    assert "Traceback" not in service.output()


@ON_LINUX
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_while_it_still_starts_leaves_no_process_behind(tmp_path: Path, workers: str) -> None:
    service = Service(tmp_path, "--workers", workers)
    service.launch()
    wait_for(lambda: "editors " in service.output(), 60)
    everyone = below(service.process.pid)
    service.stop(signal.SIGINT)
    wait_for(lambda: not any(one.lives for one in everyone), 30)
    wait_for(lambda: not servers(service.data_dir), 30)
    assert "Traceback" not in service.output()


@ON_LINUX
def test_a_second_ctrl_c_ends_it_without_waiting_and_without_leftovers(serve: Serve) -> None:
    service = serve()
    everyone = below(service.process.pid)
    with Held(service):
        service.process.send_signal(signal.SIGINT)
        wait_for(lambda: not listens(service), 30)
        assert service.stop(signal.SIGINT) == 0
    assert not [one for one in everyone if one.lives]
    assert "Traceback" not in service.output()


@ON_LINUX
def test_a_killed_service_takes_its_valkey_with_it(serve: Serve) -> None:
    service = serve()
    everyone: set[Process] = below(service.process.pid)
    assert len(everyone) == 1
    service.kill()
    wait_for(lambda: not any(one.lives for one in everyone), 30)


class Held:
    """A request whose body is half sent: the service has begun with it, and waits for the rest."""

    def __init__(self, service: Service) -> None:
        url = httpx.URL(service.url)
        self._body = httpx.Request("PUT", service.url, json=TOPIC).content
        self._socket = socket.create_connection((url.host, url.port or 0), timeout=40)
        head = (
            f"PUT {API}/topics/held HTTP/1.1\r\nHost: {url.host}\r\nAuthorization: Bearer {service.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(self._body)}\r\nExpect: 100-continue\r\n\r\n"
        )
        self._socket.sendall(head.encode() + self._body[:10])
        assert self._socket.recv(4096).startswith(b"HTTP/1.1 100 "), "the handler asks for the body"

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def finish(self) -> bytes:
        """Send the rest as a slow client does, and return everything that is answered until the connection's end."""
        # The last bytes alone come slowly: on a busy machine each pause takes longer, and the service does not wait.
        self._socket.sendall(self._body[10:-5])
        for position in range(len(self._body) - 5, len(self._body)):
            time.sleep(0.02)
            self._socket.sendall(self._body[position : position + 1])
        return b"".join(iter(lambda: self._socket.recv(65536), b""))


def listens(service: Service) -> bool:
    """Whether anybody takes connections at the service's address."""
    url = httpx.URL(service.url)
    try:
        socket.create_connection((url.host, url.port or 0), timeout=10).close()
    except ConnectionError:
        return False
    return True


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_open_answer_is_finished_while_nobody_new_is_let_in(serve: Serve, workers: str) -> None:
    service = serve("--sample", "off", "--workers", workers)
    with Held(service) as held:
        service.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not listens(service), 30)
        answer = held.finish()
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert b'"display_name":"Night Radio"' in answer
    assert service.process.wait(40) == 0
    assert "Traceback" not in service.output()
    assert topic_ids(serve()) == ["held"]


def test_an_answer_that_never_ends_does_not_hold_the_service_for_ever(serve: Serve) -> None:
    service = serve("--sample", "off")
    with Held(service):
        assert service.stop(signal.SIGTERM) == 0
    assert "Traceback" not in service.output()


async def test_while_it_drains_it_is_not_ready(tmp_path: Path) -> None:
    """A draining server takes no connections: only requests that it had already begun with can still see this."""
    told = []
    before = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    try:
        async with running(create_app(Settings(data_dir=tmp_path, editor_token=TOKEN))) as client:
            ready = await client.get("/health/ready")
            assert (ready.status_code, ready.json()["status"]) == (200, "ok")
            signal.raise_signal(signal.SIGTERM)
            ready = await client.get("/health/ready")
            assert (ready.status_code, ready.json()["status"]) == (503, "draining")
            assert (await client.get("/health/live")).status_code == 200
        assert told == [signal.SIGTERM], "whoever listened before is told as well"
    finally:
        signal.signal(signal.SIGTERM, before)


# What it costs --------------------------------------------------------------------------------------


def test_a_search_for_garbage_leaves_out_what_stays_for_ever() -> None:
    program = "import gc; from greenroom_platform.http.worker import build; app = build(); print(len(gc.get_objects()))"
    environment = {"GREENROOM_EDITOR_TOKEN": TOKEN}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) < 1000  # of some 85,000
