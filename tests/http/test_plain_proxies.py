"""A proxy on this machine that the service was not told of: its clients are anywhere, and get no session."""

from __future__ import annotations

import httpx
import pytest

from tests.support.problem_checks import problem
from tests.support.running_service import API, NO_TLS, TOKEN, Serve

PREFERENCES = f"{API}/session/preferences"


@pytest.mark.parametrize(
    "added",
    [
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
        {"X-Real-IP": "203.0.113.9"},
        {"Origin": "https://pods.example", "Sec-Fetch-Site": "same-origin"},
    ],
    ids=lambda added: next(iter(added)),
)
def test_behind_a_proxy_that_rewrites_host_no_session_begins(serve: Serve, added: dict[str, str]) -> None:
    service = serve("--sample", "off")
    for _ in range(3):
        answer = service.client.patch(PREFERENCES, json={}, headers=added)
        assert "GREENROOM_TRUSTED_PROXIES" in problem(answer, 403, "forbidden")["detail"]
        assert "set-cookie" not in answer.headers
    warnings = [line for line in service.output().splitlines() if "GREENROOM_TRUSTED_PROXIES" in line]
    assert len(warnings) == 1
    assert service.client.patch(PREFERENCES, json={}).status_code == 200


def test_a_proxy_that_is_trusted_says_how_its_clients_came(serve: Serve) -> None:
    service = serve("--sample", "off", env={"GREENROOM_EDITOR_TOKEN": TOKEN, "GREENROOM_TRUSTED_PROXIES": "127.0.0.1"})

    def through(scheme: str, client: str) -> httpx.Response:
        forwarded = {"X-Forwarded-For": client, "X-Forwarded-Proto": scheme}
        return httpx.patch(service.url + PREFERENCES, json={}, headers=forwarded, verify=NO_TLS)

    assert "__Host-greenroom=" in through("https", "203.0.113.9").headers["set-cookie"]
    assert through("http", "127.0.0.1").headers["set-cookie"].startswith("greenroom=")
    problem(through("http", "203.0.113.9"), 403, "forbidden")
