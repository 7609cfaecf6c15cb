"""What tests of ACL share: the users that `greenroom acl` prints, and everything that the service can do."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

from greenroom.acl import Holds, Role, hashed, rules
from greenroom_platform.cli.declarations import DECLARATIONS
from tests.support.forked_programs import start
from tests.support.patience import wait_for
from tests.support.people import PASSWORD
from tests.support.real_servers import Raw, Server
from tests.support.running_service import API, Service, command, environment

DENIALS = {"NOPERM", "NOAUTH", "WRONGPASS"}
SPOKEN = "Tides. The sea rises and falls twice a day."


def secret(role: str) -> str:
    """A role's password in tests."""
    return f"pass-of-the-{role}-in-tests"


def printed(role: str, *flags: str) -> str:
    """The rules of a role, as the command prints them."""
    run = command("acl", role, "--password-stdin", *flags, stdin=secret(role) + "\n")
    assert run.returncode == 0, run.stderr
    assert secret(role) not in run.stdout
    return run.stdout.strip()


def allow(raw: Raw, role: Role, prefix: str = "", holds: Holds = Holds.BOTH) -> None:
    """Make the user of a role, as an operator does with what the command prints."""
    found = rules(role, DECLARATIONS, prefix=prefix, holds=holds)
    assert found is not None
    line = "ACL", "SETUSER", f"greenroom-{role.value}", "reset", "on", hashed(secret(role.value)), *found.text().split()
    assert raw(*line) == b"OK"


def address(server: Server, role: str, password: str | None = None) -> str:
    """The server as a role sees it."""
    login = f"greenroom-{role}:{secret(role) if password is None else password}@"
    return server.address.replace("//", f"//{login}")


def denied(raw: Raw) -> list[Any]:
    """What the server has refused since the last reset."""
    return list(raw("ACL", "LOG"))


@contextmanager
def working(data_dir: Path, env: dict[str, str]) -> Iterator[Path]:
    """`greenroom work` while the block runs; gives the file that it prints to."""
    printed = data_dir.parent / "worker"
    process = start(["work", "--data-dir", str(data_dir)], environment(env), output=printed)
    try:
        wait_for(lambda: "working" in printed.read_text() or process.poll() is not None, 60)
        yield printed
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0, printed.read_text()
    finally:
        process.kill()
        process.wait()


def use_everything(service: Service) -> None:
    """Call whatever the service offers, so that it sends whatever it ever sends while its server is well."""
    client, editor = service.client, service.editor

    def call(method: str, path: str, *statuses: int, **options: Any) -> httpx.Response:
        answer = client.request(method, path, **options)
        assert answer.status_code in (statuses or (200,)), (method, path, answer.text)
        return answer

    for path in ("/", "/docs", "/health/ready", "/metrics"):
        call("GET", path)
    _change_the_record(call, editor)
    _be_somebody(call)
    podcast = call("POST", f"{API}/podcasts/generate", 202, json={"topic_id": "sea"}).json()
    status = call("GET", podcast["status_url"])
    seen = {"If-None-Match": status.headers["etag"]}
    call("GET", podcast["status_url"], 200, 304, params={"wait": 1}, headers=seen)
    with client.stream("GET", podcast["status_url"].replace("/status", "/events"), timeout=60) as events:
        told = "".join(events.iter_text())
    assert "ready_to_stream" in told, told
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
    with connect(service.url.replace("http", "ws") + podcast["stream_url"], additional_headers=cookie) as socket:
        assert "stream_start" in str(socket.recv(timeout=30))
        call("GET", f"{API}/activity", headers=editor)
    call("GET", podcast["stream_url"].replace("/stream", "/audio.webm"))
    _operate(call, editor)
    call("DELETE", f"{API}/session", 204)
    call("DELETE", f"{API}/snippets/tide", 404, headers=editor)


def _change_the_record(call: Any, editor: dict[str, str]) -> None:
    topic = {"display_name": "The Sea", "description": "Water.", "keywords": ["sea"]}
    call("PUT", f"{API}/topics/sea", 201, json=topic, headers=editor)
    call("PUT", f"{API}/topics/sea", json=topic | {"description": "Salt water."}, headers=editor)
    call("PUT", f"{API}/topics/dry", 201, json=topic, headers=editor)
    call("DELETE", f"{API}/topics/dry", 204, headers=editor)
    call("GET", f"{API}/topics/dry", 404)
    draft = {"topic_id": "sea", "title": "Tides", "text_content": SPOKEN}
    made = [call("POST", f"{API}/snippets", 201, json=draft, headers=editor).json() for _ in range(2)]
    for _ in range(3):
        for path in ("topics", "topics/sea", "snippets", "snippets?topic_id=sea", f"snippets/{made[0]['snippet_id']}"):
            call("GET", f"{API}/{path}")
    call("PUT", f"{API}/snippets/{made[0]['snippet_id']}", json=made[0] | {"title": "Ebb"}, headers=editor)
    call("DELETE", f"{API}/snippets/{made[1]['snippet_id']}", 204, headers=editor)
    assert [one["title"] for one in call("GET", f"{API}/snippets?topic_id=sea").json()] == ["Ebb"]


def _operate(call: Any, editor: dict[str, str]) -> None:
    """As the operator's page does."""
    found = call("GET", f"{API}/control/summary", headers=editor).json()
    errors = [one["error"] for one in (*found["servers"], found["sessions"], found["processes"])]
    assert errors == [None] * (len(found["servers"]) + 2), errors
    key = call("GET", f"{API}/control/keys/topic?topic_id=sea", headers=editor).json()
    assert (key["state"], key["record"]) == ("value", "same")
    why = {"why": "a test wants it"}
    for what in ({"what": "key", "parts": {"topic_id": "sea"}}, {"what": "keyspace"}):
        call("POST", f"{API}/control/drops", json={"keyspace": "topic", **what, **why}, headers=editor)
    call("GET", f"{API}/control/users/ana/sessions", headers=editor)


def _be_somebody(call: Any) -> None:
    call("PATCH", f"{API}/session/preferences", json={"playback_speed_default": 2.0})
    login = {"username": "ana", "password": PASSWORD}
    call("POST", f"{API}/users", 201, json=login)
    call("POST", f"{API}/session/login", 401, json=login | {"password": "not the password"})
    call("POST", f"{API}/session/login", json=login)
    call("GET", f"{API}/session")
    call("GET", f"{API}/sessions")
    call("POST", f"{API}/session/logout-everywhere", 204)
    call("POST", f"{API}/session/login", json=login)
    call("PATCH", f"{API}/session/preferences", json={"playback_speed_default": 1.5})


def called_commands(raw: Raw) -> set[str]:
    """Every command that was called, as rules name them; those inside scripts too."""
    return {
        line.partition(":")[0].removeprefix("cmdstat_")
        for line in raw("INFO", "commandstats").decode().splitlines()
        if line.startswith("cmdstat_")
    }
