"""What one client can do to the service in a second, and what that costs: a line for each, for `docs/security.md`.

    python -m bench.attacks           all of them, about 90 s
    python -m bench.attacks pings     the named ones

Each starts a service of its own with the default bounds, one process, without a worker.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.running_service import API, FREELY, Service

ATTACKER = ("127.0.0.2", 0)
"""Where the attacking client comes from; the other client has 127.0.0.1."""
SECONDS = 5.0
"""How long an attack takes."""
_TICKS = os.sysconf("SC_CLK_TCK")
_SOCKET = (
    "GET {api}/podcasts/{podcast}/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

Attack = Callable[[Service, float], str]
"""Attacks until a moment of the monotonic clock; returns what came of it."""


class Victim:
    """The other client, who asks for `/health/live` all the time, and the memory of the service meanwhile."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.slowest = 0.0
        self.most = 0

    def __enter__(self) -> Victim:
        self.before = memory(self._service)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                asked = http.client.HTTPConnection(self._service.url.removeprefix("http://"), timeout=60)
                asked.request("GET", "/health/live")
                asked.getresponse().read()
                asked.close()
            except OSError:
                time.sleep(0.01)
                continue  # not answered: it asks again, and the time goes on
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.most = max(self.most, memory(self._service))
            time.sleep(0.01)


def memory(service: Service) -> int:
    """Resident bytes of the service."""
    (line,) = (one for one in _status(service) if one.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def processor(service: Service) -> float:
    """Seconds of CPU that the service has used."""
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _status(service: Service) -> list[str]:
    return Path(f"/proc/{service.process.pid}/status").read_text().splitlines()


def connected(service: Service) -> socket.socket:
    """A connection from the attacker's address."""
    host, _, port = service.url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=SECONDS, source_address=ATTACKER)


def sent(service: Service, head: bytes, again: bytes, end: float) -> str:
    """Send something once, then something else again and again."""
    total = 0
    with connected(service) as one:
        try:
            one.sendall(head)
            while time.monotonic() < end:
                total += one.send(again)
        except TimeoutError:
            return f"took {total / 1e6:.1f} MB, then nothing more"
        except OSError:
            return f"closed after {total / 1e6:.1f} MB"
    return f"took {total / 1e6:.1f} MB"


# What must not take memory or the loop ---------------------------------------------------------------


def pipelined(service: Service, end: float) -> str:
    """Requests without a pause whose answers nobody reads."""
    return sent(service, b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000, end)


def headers(service: Service, end: float) -> str:
    """A request with headers without end."""
    return sent(service, b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"a:\r\n" * 250_000, end)


def address(service: Service, end: float) -> str:
    """A request with an address without end."""
    return sent(service, b"GET /", b"a" * 1_000_000, end)


def pings(service: Service, end: float) -> str:
    """Empty pings on one WebSocket."""
    wanted = json.dumps({"topic_id": "tech_ai_ethics"})
    podcast = json.loads(asked(service).do("POST", f"{API}/podcasts/generate", wanted)[1])["podcast_id"]
    opening = _SOCKET.format(api=API, podcast=podcast).encode()
    with connected(service) as one:
        one.sendall(opening)
        one.recv(65536)
        total = 0
        try:
            while time.monotonic() < end:
                total += one.send(b"\x89\x80\0\0\0\0" * 2000)
        except OSError:
            return f"closed after {total / 1e6:.2f} MB"
    return f"took {total / 1e6:.2f} MB"


def silent(service: Service, _: float) -> str:
    """1,100 connections that say nothing, for 12 s."""
    opened = [connected(service) for _ in range(1100)]
    time.sleep(12)
    closed = 0
    for one in opened:
        one.setblocking(False)
        try:
            while one.recv(4096):
                pass
            closed += 1
        except BlockingIOError:
            pass
        except OSError:
            closed += 1
        one.close()
    return f"{closed} of 1100 closed after 12 s"


# What requests cost ----------------------------------------------------------------------------------


class Asked:
    """One client at the attacker's address that sends one request after another."""

    def __init__(self, service: Service) -> None:
        where = service.url.removeprefix("http://")
        self._connection = http.client.HTTPConnection(where, timeout=60, source_address=ATTACKER)

    def do(self, method: str, path: str, body: str | None = None, **more: str) -> tuple[int, bytes]:
        """Status and body of an answer."""
        self._connection.request(method, path, body, {"Content-Type": "application/json", **more})
        answer = self._connection.getresponse()
        return answer.status, answer.read()


def asked(service: Service) -> Asked:
    """A new client."""
    return Asked(service)


def repeated(one: Callable[[Asked, int], tuple[int, bytes]]) -> Attack:
    """One request after another, numbered."""

    def attack(service: Service, end: float) -> str:
        client, answers = asked(service), Counter[int]()
        raw = service.raw()
        held, used, began = raw("INFO", "memory"), processor(service), time.monotonic()
        while time.monotonic() < end:
            answers[one(client, answers.total())[0]] += 1
        rate = answers.total() / (time.monotonic() - began)
        cost = (processor(service) - used) / answers.total()
        left = (_used(raw("INFO", "memory")) - _used(held)) / answers.total()
        raw.close()
        statuses = ", ".join(f"{count} of {status}" for status, count in sorted(answers.items()))
        return f"{rate:.0f}/s, {cost * 1000:.2f} ms CPU each, {left / 1000:.2f} KB each on the server, {statuses}"

    return attack


def _used(info: bytes) -> int:
    (line,) = (line for line in info.split() if line.startswith(b"used_memory:"))
    return int(line.partition(b":")[2])


def _log_in(client: Asked, _: int) -> tuple[int, bytes]:
    body = json.dumps({"username": "somebody", "password": "a wrong password of theirs"})
    return client.do("POST", f"{API}/session/login", body)


def _sign_up(client: Asked, number: int) -> tuple[int, bytes]:
    body = json.dumps({"username": f"attacker{number}", "password": "correct horse battery"})
    return client.do("POST", f"{API}/users", body)


def _session(client: Asked, _: int) -> tuple[int, bytes]:
    return client.do("PATCH", f"{API}/session/preferences", json.dumps({"playback_speed_default": 2}))


def _podcast(client: Asked, _: int) -> tuple[int, bytes]:
    return client.do("POST", f"{API}/podcasts/generate", json.dumps({"topic_id": "tech_ai_ethics"}))


ATTACKS: dict[str, Attack] = {
    "pipelined": pipelined,
    "headers": headers,
    "address": address,
    "pings": pings,
    "silent": silent,
    "topic": repeated(lambda client, _: client.do("GET", f"{API}/topics/tech_ai_ethics")),
    "no-topic": repeated(lambda client, number: client.do("GET", f"{API}/topics/nobody{number}")),
    "sign-up": repeated(_sign_up),
    "log-in": repeated(_log_in),
    "session": repeated(_session),
    "editor-token": repeated(lambda client, _: client.do("GET", f"{API}/activity", Authorization="Bearer of-a-guess")),
    "podcast": repeated(_podcast),
    "body": repeated(lambda client, _: client.do("POST", f"{API}/users", "x" * 1_000_000)),
}


@contextmanager
def served() -> Iterator[Service]:
    """A service with its default bounds."""
    with tempfile.TemporaryDirectory(prefix="greenroom-attacks-") as directory:
        service = Service(Path(directory), "--work", "off", under=("env", *_bounds())).start()
        try:
            yield service
        finally:
            service.stop()


def _bounds() -> list[str]:
    return [part for name in FREELY for part in ("-u", name)]


def main(names: list[str]) -> None:
    """Make the named attacks, or all."""
    for name in names or ATTACKS:
        with served() as service, Victim(service) as victim:
            came = ATTACKS[name](service, time.monotonic() + SECONDS)
        print(
            f"{name:13} {came}; slowest other {victim.slowest:.3f} s, "
            f"memory {victim.before / 2**20:.0f} to {victim.most / 2**20:.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
