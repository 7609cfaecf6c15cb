"""`deploy/nginx/greenroom.conf` in a real nginx, over TLS: streams, WebSockets, ranges, cookies and addresses pass."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from websockets.sync.client import connect

from tests.support.deployed_files import DEPLOY, checked, needs
from tests.support.patience import wait_for
from tests.support.people import PASSWORD
from tests.support.real_servers import free_port
from tests.support.running_service import API, TOKEN, Service
from tests.support.tls_proxy import WITH_OPENSSL, Authority

pytestmark = [needs("nginx", "nginx-light"), WITH_OPENSSL]
SERVE_ENV = {"GREENROOM_TRUSTED_PROXIES": "127.0.0.1", "GREENROOM_ALLOWED_HOSTS": "localhost"}
AROUND = """
daemon off;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    {snippet}
}}
"""


class Behind(NamedTuple):
    """The proxy's address, and a client that trusts its certificate."""

    url: str
    client: httpx.Client
    tls: ssl.SSLContext


@pytest.fixture(scope="module")
def behind(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """The service behind nginx."""
    with before(tmp_path_factory.mktemp("nginx"), f"server {service.url.removeprefix('http://')}") as behind:
        wait_for(lambda: _answers(behind.client))
        yield behind


@contextmanager
def before(home: Path, hosts: str) -> Iterator[Behind]:
    """An nginx before these hosts."""
    port = free_port()
    authority = Authority(home)
    certificate = authority.signs("here", "DNS:localhost")
    snippet = (DEPLOY / "nginx" / "greenroom.conf").read_text("utf-8")
    for given, here in (
        ("server 127.0.0.1:8000 max_fails=2 fail_timeout=5s", hosts),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("pod.example.org;", "localhost;"),
        ("/etc/ssl/pod.example.org.pem", str(certificate.cert)),
        ("/etc/ssl/private/pod.example.org.key", str(certificate.key)),
    ):
        assert given in snippet, given
        snippet = snippet.replace(given, here)
    file = home / "nginx.conf"
    file.write_text(AROUND.format(home=home, snippet=snippet))
    checked("nginx", "-t", "-c", file, "-p", home)
    process = subprocess.Popen(["nginx", "-c", str(file), "-p", str(home)], stderr=subprocess.DEVNULL)
    tls = ssl.create_default_context(cafile=str(authority.cacert))
    try:
        with httpx.Client(base_url=f"https://localhost:{port}", verify=tls, timeout=60) as client:
            wait_for(lambda: _listens(port))
            yield Behind(f"wss://localhost:{port}", client, tls)
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get(f"{API}/topics").status_code == 200
    except httpx.TransportError:
        return False


def test_a_podcast_is_followed_heard_and_fetched_in_part_through_nginx(behind: Behind) -> None:
    editor = {"Authorization": f"Bearer {TOKEN}"}
    topic = {"display_name": "Brief", "description": "Brief.", "keywords": ["brief"]}
    assert behind.client.put(f"{API}/topics/brief", json=topic, headers=editor).status_code == 201
    draft = {"topic_id": "brief", "title": "Tides", "text_content": "Tides. The sea rises and falls twice a day."}
    assert behind.client.post(f"{API}/snippets", json=draft, headers=editor).status_code == 201
    podcast = behind.client.post(f"{API}/podcasts/generate", json={"topic_id": "brief"}).raise_for_status().json()
    with connect(behind.url + podcast["stream_url"], ssl=behind.tls) as socket:
        with behind.client.stream("GET", podcast["status_url"].replace("/status", "/events")) as events:
            assert events.headers["content-type"].startswith("text/event-stream")
            told = "".join(events.iter_text())
        assert "ready_to_stream" in told
        first, second = socket.recv(timeout=60), socket.recv(timeout=60)
    assert "stream_start" in str(first)
    assert isinstance(second, bytes)
    audio = podcast["stream_url"].replace("/stream", "/audio.webm")
    part = behind.client.get(audio, headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"\x1a\x45\xdf\xa3")
    assert part.headers["content-range"].startswith("bytes 0-3/")


def test_sessions_are_secure_and_numbers_stay_inside(behind: Behind) -> None:
    login = {"username": "nginx-ana", "password": PASSWORD}
    assert behind.client.post(f"{API}/users", json=login).status_code == 201
    answer = behind.client.post(f"{API}/session/login", json=login)
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-greenroom=")
    assert "Secure" in cookie
    assert behind.client.get(f"{API}/session").status_code == 200
    assert behind.client.get("/metrics").status_code == behind.client.get("/health/ready").status_code == 404
    etag = behind.client.get(f"{API}/topics").headers["etag"]
    assert behind.client.get(f"{API}/topics", headers={"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize("upgrade", ["h2c", "h2c, websocket", "TLS/1.0"])
def test_a_post_that_offers_another_upgrade_is_read_with_its_body(behind: Behind, upgrade: str) -> None:
    """Prevents: a client offers HTTP/2 with a POST · the service takes the body for what follows the upgrade."""
    offers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": upgrade, "HTTP2-Settings": "AAMAAABkAAQAoAAAAAIAAAAA"}
    name = f"nginx-{len(upgrade)}"
    answer = behind.client.post(f"{API}/users", json={"username": name, "password": PASSWORD}, headers=offers)
    assert (answer.status_code, answer.json().get("username")) == (201, name)


def test_what_a_client_says_of_its_address_does_not_count(behind: Behind, service: Service) -> None:
    """Else each guess would come from another address."""
    tries = [
        behind.client.get(
            f"{API}/activity",
            headers={"Authorization": f"Bearer wrong-token-{number:05}", "X-Forwarded-For": f"10.1.1.{number}"},
        ).status_code
        for number in range(55)
    ]
    assert tries[0] == 401
    assert tries[-1] == 429


# What reaches the hosts ------------------------------------------------------------------------------


class Host:
    """A host that keeps the heads of what it gets, and answers or breaks off."""

    def __init__(self, *, answers: bool) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._answers = answers
        self.heads: list[str] = []
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                taken, _ = self._listening.accept()
            except OSError:  # closed
                return
            with taken:
                said = b""
                while b"\r\n\r\n" not in said and (part := taken.recv(65_536)):
                    said += part
                self.heads.append(said.partition(b"\r\n\r\n")[0].decode().lower())
                if self._answers:
                    taken.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """One that breaks off whatever it is asked, and one that answers."""
    made = Host(answers=False), Host(answers=True)
    yield made
    for one in made:
        one.close()


@pytest.mark.parametrize(
    ("upgrade", "passed"),
    [("h2c", None), ("h2c, websocket", None), ("websocket", "websocket"), ("WebSocket", "websocket")],
)
def test_only_an_upgrade_to_websocket_is_passed_on(
    hosts: tuple[Host, Host], tmp_path: Path, upgrade: str, passed: str | None
) -> None:
    _, host = hosts
    with before(tmp_path, f"server {host.address}") as behind:
        assert behind.client.get("/", headers={"Connection": "Upgrade", "Upgrade": upgrade}).status_code == 204
    (head,) = host.heads
    told = dict(line.split(": ", 1) for line in head.splitlines()[1:])
    assert (told.get("upgrade"), told.get("connection")) == (passed, passed and "upgrade")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "PATCH"])
def test_what_a_host_breaks_off_is_repeated_where_it_is_idempotent(
    hosts: tuple[Host, Host], tmp_path: Path, method: str
) -> None:
    """As `greenroom.conf` says of it."""
    first, second = hosts
    with before(tmp_path, f"server {first.address} max_fails=0; server {second.address} backup") as behind:
        answer = behind.client.request(method, "/")
    repeated = method not in ("POST", "PATCH")
    assert (len(first.heads), len(second.heads), answer.status_code) == (1, int(repeated), 204 if repeated else 502)
