"""`greenroom status` and the service that it asks: who is sent the token, and what is told of a strange answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, TCPServer
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner

from greenroom.cli.group import group
from greenroom.inspection.status import hear
from tests.support.operated import Operated

TOKEN = "a-token-that-was-made"
WELL = b'{"status": "ok", "engine": "ok", "database": "ok"}'


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives one of the answers to each connection, the last again and again; and what it was sent."""
    left, sent = list(answers), list[bytes]()

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            sent.append(self.request.recv(65536))
            self.request.sendall(left.pop(0) if len(left) > 1 else left[0])

    with TCPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", sent
        finally:
            server.shutdown()


def told(operated: Operated, service: str, exit_code: int) -> Any:
    """What the command tells as JSON; it ends as it should."""
    arguments = ["status", "--valkey-url", operated.viewer, "--service", service, "--json"]
    result = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def test_no_proxy_of_the_environment_is_sent_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(ok(WELL)) as (proxy, to_proxy), answering(ok(WELL), ok(b"")) as (url, to_service):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy)
        for name in ("no_proxy", "NO_PROXY", "REQUEST_METHOD"):
            monkeypatch.delenv(name, raising=False)
        assert hear(url, TOKEN).failure is None
    assert to_proxy == []
    assert all(f"Authorization: Bearer {TOKEN}".encode() in one for one in to_service)
    assert len(to_service) == 2


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_and_its_host_is_sent_no_token(code: int) -> None:
    with answering(ok(WELL)) as (other, to_other):
        redirect = f"HTTP/1.1 {code} Elsewhere\r\nLocation: {other}/health/ready\r\nContent-Length: 0\r\n\r\n"
        with answering(redirect.encode()) as (url, _):
            assert hear(url, TOKEN).failure == f"it answers {code} Elsewhere, to {other}/health/ready"
    assert to_other == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "BadStatusLine: SSH-2.0-OpenSSH_9.6"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "IncompleteRead"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 100\r\n\r\n{", "IncompleteRead"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n", "got more than 100 headers"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", "IncompleteRead"),
        (ok(b"[" * 200_000), "while decoding"),
        (ok(b"no JSON"), "Expecting value"),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "it answers 401 Unauthorized"),
        (b"", "closed connection"),
    ],
)
def test_an_answer_of_no_service_is_told_in_one_line(operated: Operated, answer: bytes, words: str) -> None:
    with answering(answer) as (url, _):
        found = told(operated, url, 2)
    assert [one["kind"] for one in found["findings"]] == ["no_service"]
    assert words in found["sentence"]
    assert len(found["sentence"].splitlines()) == 1


@pytest.mark.parametrize(
    "address", ["http://host:abc", "http://[::1", "127.0.0.1:8000", "redis://127.0.0.1", "http://a b"]
)
def test_an_address_that_is_none_is_told_in_one_line(operated: Operated, address: str) -> None:
    assert [one["kind"] for one in told(operated, address, 2)["findings"]] == ["no_service"]


def test_counts_that_are_no_numbers_are_passed_over(operated: Operated) -> None:
    values = ("NaN", "+Inf", "-Inf", "1e300", "7")
    reads = "".join(
        f'greenroom_cache_reads_total{{keyspace="topic",outcome="o{number}"}} {value}\n'
        for number, value in enumerate(values)
    )
    gauges = "greenroom_sessions_active NaN\ngreenroom_users_active 3\n"
    with answering(ok(WELL), ok((reads + gauges).encode())) as (url, _):
        found = told(operated, url, 0)
    (topic,) = [one for one in found["keyspaces"] if one["name"] == "topic"]
    assert topic["outcomes"] == {"o4": 7}
    assert found["gauges"] == {"greenroom_users_active": 3.0}
