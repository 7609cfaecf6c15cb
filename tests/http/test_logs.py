"""Request ids and log lines: taken or made, returned, and in every line; nothing in a line but what belongs there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.support.patience import wait_for
from tests.support.problem_checks import problem
from tests.support.running_service import API, TOKEN, Service

MADE = re.compile(r"[0-9a-f]{32}")


@pytest.fixture(scope="module")
def behind_a_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that logs JSON and trusts what this host says of whom it forwards for."""
    flags = ("--log-format", "json", "--trusted-proxies", "10.0.0.0/8, 127.0.0.1")
    service = Service(tmp_path_factory.mktemp("logs"), *flags, env={"GREENROOM_EDITOR_TOKEN": TOKEN}).start()
    yield service
    service.stop()


def lines(service: Service, request_id: str) -> list[str]:
    """The log lines of a request, once its access line is there."""

    def found() -> list[str]:
        return [line for line in service.output().splitlines() if request_id in line]

    wait_for(lambda: any("greenroom.access" in line for line in found()))
    return found()


@pytest.mark.parametrize("path", [f"{API}/topics", f"{API}/topics/nobody", "/nobody", "/metrics", "/docs"])
def test_a_request_id_is_taken_returned_and_logged(service: Service, path: str) -> None:
    request_id = f"taken.{path.replace('/', '~')}:1+2="
    answer = service.client.get(path, headers={"X-Request-Id": request_id})
    assert answer.headers.get_list("x-request-id") == [request_id]
    (line,) = lines(service, request_id)
    assert f"greenroom.access [{request_id}] GET {path} {answer.status_code} " in line


def test_a_request_id_is_made_where_none_was_sent(service: Service) -> None:
    made = {service.client.get("/health/live").headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3
    assert all(MADE.fullmatch(one) for one in made)


@pytest.mark.parametrize("bad", ["", "two words", "a\tb", "a" * 129, "\xe9", "<script>", '"', "a,b"])
def test_a_request_id_that_could_do_harm_is_replaced(service: Service, bad: str) -> None:
    answer = service.client.get("/nobody", headers={b"X-Request-Id": bad.encode("latin-1")})
    assert MADE.fullmatch(answer.headers["x-request-id"])
    assert problem(answer, 404, "not-found")["request_id"] == answer.headers["x-request-id"]


def test_a_problem_names_the_request_id(service: Service) -> None:
    answer = service.client.get("/nobody", headers={"X-Request-Id": "in-the-problem"})
    assert problem(answer, 404, "not-found")["request_id"] == "in-the-problem"


def test_a_line_break_in_a_path_forges_no_line(service: Service) -> None:
    path = "/a%0A2026-01-01%20INFO%20forged%0D%1B[31m"
    service.client.get(path, headers={"X-Request-Id": "unforged"})
    (line,) = lines(service, "unforged")
    assert f"GET {path} 404" in line
    assert not any(line.startswith("2026-01-01 INFO forged") for line in service.output().splitlines())


def test_the_token_and_the_query_are_not_logged(service: Service) -> None:
    path = f"{API}/topics/logged?secret=in-the-query"
    headers = service.editor | {"X-Request-Id": "discreet"}
    service.client.put(path, content=b"{", headers=headers)
    assert lines(service, "discreet")
    assert TOKEN not in service.output()
    assert "in-the-query" not in service.output()


def entries(service: Service, request_id: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in lines(service, request_id)]


def test_a_line_of_json_tells_the_request_by_members(behind_a_proxy: Service) -> None:
    behind_a_proxy.client.head(f"{API}/topics", headers={"X-Request-Id": "as-json"})
    (line,) = entries(behind_a_proxy, "as-json")
    assert line.pop("milliseconds") >= 0
    assert line.pop("time").endswith("Z")
    assert line.pop("message").startswith(f"HEAD {API}/topics 200 ")
    assert line == {
        "level": "info",
        "logger": "greenroom.access",
        "request_id": "as-json",
        "method": "HEAD",
        "path": f"{API}/topics",
        "status": 200,
        "client": "127.0.0.1",
    }


def test_every_line_after_the_banner_is_json(behind_a_proxy: Service) -> None:
    behind_a_proxy.client.get("/a%0Ab")
    logged = [line for line in behind_a_proxy.logged().splitlines() if line.startswith("{")]
    assert all("request_id" in msgspec.json.decode(line) for line in logged)
    others = [line for line in behind_a_proxy.output().splitlines() if not line.startswith("{")]
    assert {line.split()[0] for line in others} <= {"Greenroom", "caches", "database", "recordings"}


def test_a_trusted_proxy_names_the_client(behind_a_proxy: Service) -> None:
    headers = {"X-Request-Id": "forwarded", "X-Forwarded-For": "198.51.100.7, 203.0.113.9, 10.1.2.3"}
    behind_a_proxy.client.get("/health/live", headers=headers)
    (line,) = entries(behind_a_proxy, "forwarded")
    assert line["client"] == "203.0.113.9"  # the last that no trusted proxy is


def test_without_trusted_proxies_nobody_names_another_client(service: Service) -> None:
    headers = {"X-Request-Id": "pretended", "X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    service.client.get("/health/live", headers=headers)
    (line,) = lines(service, "pretended")
    assert line.endswith(" 127.0.0.1")
