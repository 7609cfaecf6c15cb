"""The session on the wire: cookies and bearers, whose pages may act, and what caches are told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.cookies import Morsel, SimpleCookie
from typing import Any

import httpx
import pytest

from tests.support.people import COOKIE, PASSWORD, People, people_of
from tests.support.problem_checks import problem
from tests.support.running_service import API, NO_TLS, TOKEN, Service

PRIVATE = {"cache-control": "private, no-store", "vary": "Cookie, Authorization"}
ALLOWED = "https://listen.example"
FOREIGN: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
]


@pytest.fixture
def people(service: Service) -> Iterator[People]:
    with people_of(service) as made:
        yield made


@pytest.fixture(scope="module")
def behind_a_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose proxy is on this host, and that one other origin may call."""
    flags = ("--trusted-proxies", "127.0.0.1", "--allowed-origins", ALLOWED)
    service = Service(tmp_path_factory.mktemp("proxy"), *flags, env={"GREENROOM_EDITOR_TOKEN": TOKEN}).start()
    yield service
    service.stop()


def by_https(service: Service, method: str, path: str, cookie: str = "", **options: Any) -> httpx.Response:
    """A request as the proxy passes it on that has ended its client's TLS."""
    headers = {"Host": "pods.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    headers |= {"Cookie": cookie} if cookie else {}
    headers |= options.pop("headers", {})
    return httpx.request(method, service.url + API + path, headers=headers, timeout=15, verify=NO_TLS, **options)


def cookie_of(answer: httpx.Response) -> Morsel[str]:
    """The one cookie that an answer sets."""
    (line,) = answer.headers.get_list("set-cookie")
    ((_, morsel),) = SimpleCookie(line).items()
    return morsel


# Cookies -------------------------------------------------------------------------------------------


def test_over_plain_loopback_the_cookie_goes_without_prefix_and_secure(people: People) -> None:
    morsel = cookie_of(people().sign_up().log_in())
    assert (morsel.key, morsel["path"], morsel["samesite"], morsel["httponly"]) == (COOKIE, "/", "Lax", True)
    assert not morsel["secure"]
    assert not morsel["domain"]
    assert not morsel["max-age"]
    assert len(morsel.value) == 43


def test_that_it_does_is_logged_and_not_at_every_cookie(service: Service, people: People) -> None:
    for _ in range(3):
        people().prefer()
    assert service.output().count("plain HTTP on loopback") == 1


def test_behind_an_https_proxy_the_cookie_is_host_bound_and_secure(behind_a_proxy: Service) -> None:
    begun = by_https(behind_a_proxy, "PATCH", "/session/preferences", json={"playback_speed_default": 2})
    morsel = cookie_of(begun)
    assert morsel.key == "__Host-greenroom"
    assert (morsel["path"], morsel["samesite"], morsel["httponly"], morsel["secure"]) == ("/", "Lax", True, True)
    assert not morsel["domain"]
    mine = f"__Host-greenroom={morsel.value}"
    assert by_https(behind_a_proxy, "GET", "/session", mine).json()["preferences"]["playback_speed_default"] == 2
    assert "plain HTTP" not in behind_a_proxy.output()
    ended = by_https(behind_a_proxy, "DELETE", "/session", mine)
    assert ended.headers["set-cookie"] == "__Host-greenroom=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax"


def test_the_cookie_of_plain_http_is_none_over_https(behind_a_proxy: Service) -> None:
    token = cookie_of(by_https(behind_a_proxy, "PATCH", "/session/preferences", json={})).value
    problem(by_https(behind_a_proxy, "GET", "/session", f"greenroom={token}"), 401, "unauthorized")


def test_plain_http_from_elsewhere_gets_no_session_and_tries_no_password(behind_a_proxy: Service) -> None:
    plain = {"X-Forwarded-Proto": "http"}
    credentials = {"username": "nobody", "password": PASSWORD}
    token = cookie_of(by_https(behind_a_proxy, "PATCH", "/session/preferences", json={})).value
    tried = len(behind_a_proxy.raw()("KEYS", "greenroom:attempts:*"))
    for answer in (
        by_https(behind_a_proxy, "POST", "/session/login", headers=plain, json=credentials),
        by_https(behind_a_proxy, "PATCH", "/session/preferences", headers=plain, json={}),
        by_https(behind_a_proxy, "GET", "/session", f"greenroom={token}", headers=plain),
        by_https(behind_a_proxy, "GET", "/session", headers=plain | {"Authorization": f"Bearer {token}"}),
    ):
        assert "HTTPS" in problem(answer, 403, "forbidden")["detail"]
        assert "set-cookie" not in answer.headers
    assert len(behind_a_proxy.raw()("KEYS", "greenroom:attempts:*")) == tried
    assert by_https(behind_a_proxy, "GET", "/topics", headers=plain).status_code == 200


def test_a_proxy_that_names_no_scheme_is_not_taken_for_loopback(service: Service) -> None:
    answer = service.client.patch(f"{API}/session/preferences", json={}, headers={"Host": "pods.example"})
    problem(answer, 403, "forbidden")
    pretended = {"Host": "pods.example", "X-Forwarded-Proto": "https"}  # by a client: no proxy is trusted here
    problem(service.client.patch(f"{API}/session/preferences", json={}, headers=pretended), 403, "forbidden")


def test_of_two_cookies_none_is_taken(people: People) -> None:
    ana = people()
    ana.prefer()
    twice = {"Cookie": f"{COOKIE}={ana.token}; {COOKIE}={'A' * 43}"}
    problem(people().get("/session", headers=twice), 401, "unauthorized")


# Bearers -------------------------------------------------------------------------------------------


def test_a_client_without_cookies_signs_in_and_out_with_a_bearer_token(people: People) -> None:
    ana, cli = people().sign_up(), people()
    cli.username = ana.username
    token = cli.log_in(token=True).json()["token"]
    cli.client.cookies.clear()
    bearer = {"Authorization": f"Bearer {token}"}
    assert "user_id" in cli.get("/session", headers=bearer).json()
    answer = cli.patch("/session/preferences", json={"playback_speed_default": 2}, headers=bearer)
    assert answer.json()["preferences"]["playback_speed_default"] == 2
    ended = cli.delete("/session", headers=bearer)
    assert ended.status_code == 204
    assert "set-cookie" not in ended.headers
    problem(cli.get("/session", headers=bearer), 401, "unauthorized")


def test_a_bearer_that_signs_in_again_gets_its_token_in_the_body_only(people: People) -> None:
    ana = people().sign_up()
    token = ana.log_in(token=True).json()["token"]
    ana.client.cookies.clear()
    for presented in (token, "A" * 43):  # living or not
        ana.client.headers["Authorization"] = f"Bearer {presented}"
        answer = ana.log_in()
        assert "set-cookie" not in answer.headers
        ana.client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        assert "user_id" in ana.get("/session").json()
    dead = people().get("/session", headers={"Authorization": f"Bearer {token}"})
    assert dead.status_code in (200, 401)  # the copy, for some seconds


def test_a_bearer_goes_before_a_cookie(people: People) -> None:
    ana, bob = people().sign_up(), people().sign_up()
    mine = ana.log_in().json()["user_id"]
    token = bob.log_in(token=True).json()["token"]
    found = ana.get("/session", headers={"Authorization": f"Bearer {token}"}).json()["user_id"]
    assert found != mine
    for wrong in ("A" * 43, "short"):
        answer = ana.get("/session", headers={"Authorization": f"Bearer {wrong}"})
        problem(answer, 401, "unauthorized")
    assert ana.get("/session").json()["user_id"] == mine


# Whose pages may act -------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_foreign_page_may_not_act(people: People, headers: dict[str, str]) -> None:
    ana = people().sign_up()
    ana.log_in()
    credentials = {"username": ana.username, "password": PASSWORD}
    for method, path, body in (
        ("PATCH", "/session/preferences", {"playback_speed_default": 2}),
        ("POST", "/session/login", credentials),
        ("DELETE", "/session", None),
        ("POST", "/session/logout-everywhere", None),
        ("POST", "/users", credentials),
    ):
        answer = ana.client.request(method, API + path, json=body, headers=headers)
        assert "another origin" in problem(answer, 403, "forbidden")["detail"]
        assert "set-cookie" not in answer.headers
    assert ana.get("/session").json()["preferences"]["playback_speed_default"] == 1.0


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}])
def test_its_own_pages_and_who_is_no_browser_may_act(people: People, headers: dict[str, str]) -> None:
    ana = people()
    assert ana.patch("/session/preferences", json={}, headers=headers).status_code == 200
    own = {"Origin": str(ana.client.base_url).rstrip("/")}
    assert ana.patch("/session/preferences", json={}, headers=own).status_code == 200


def test_a_page_of_an_allowed_origin_may_act_and_read_the_answer(behind_a_proxy: Service) -> None:
    page = {"Origin": ALLOWED, "Sec-Fetch-Site": "cross-site"}
    answer = by_https(behind_a_proxy, "PATCH", "/session/preferences", json={}, headers=page)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["cache-control"] == "private, no-store"
    assert {one.strip() for one in answer.headers["vary"].split(",")} == {"Cookie", "Authorization", "Origin"}
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    refused = by_https(behind_a_proxy, "PATCH", "/session/preferences", json={}, headers=foreign)
    problem(refused, 403, "forbidden")
    assert "access-control-allow-origin" not in refused.headers


# What caches are told ------------------------------------------------------------------------------


def told(answer: httpx.Response) -> dict[str, str]:
    return {name: answer.headers.get(name, "") for name in PRIVATE}


def test_answers_that_used_the_session_are_private_and_vary_by_token(people: People) -> None:
    ana = people().sign_up()
    wrong = {"username": ana.username, "password": "wrong password"}
    answers = [
        ana.get("/session"),
        ana.delete("/session"),
        ana.get("/sessions"),
        ana.post("/session/login", json=wrong),
        ana.log_in(),
        ana.get("/session"),
        ana.get("/sessions"),
        ana.patch("/session/preferences", json={}),
        ana.delete("/sessions/nobody"),
        ana.delete("/session"),
        ana.get("/session", headers={"Cookie": f"{COOKIE}={'A' * 43}"}),
        ana.get("/session", headers={"Authorization": "Bearer short"}),
    ]
    assert [answer.status_code for answer in answers] == [401] * 4 + [200] * 4 + [404, 204, 401, 401]
    for answer in answers:
        assert told(answer) == PRIVATE, answer.request.url


def test_a_cached_read_stays_public_though_a_token_comes_along(people: People) -> None:
    ana = people().sign_up()
    token = ana.log_in(token=True).json()["token"]
    for path in ("/topics", "/topics/tech_ai_ethics", "/snippets", "/snippets?topic_id=tech_ai_ethics"):
        plain = people().get(path)
        for headers in ({}, {"Authorization": f"Bearer {token}"}, {"Cookie": f"{COOKIE}={'A' * 43}"}):
            answer = ana.get(path, headers=headers)
            assert answer.headers["cache-control"] == plain.headers["cache-control"] == "public, no-cache"
            assert "vary" not in answer.headers
            assert "set-cookie" not in answer.headers
            assert answer.headers["etag"] == plain.headers["etag"]


def test_what_has_nothing_to_do_with_the_session_does_not_vary_with_it(people: People) -> None:
    ana = people()
    ana.prefer()
    for path in (f"{API}/nobody", "/health/live", "/metrics", "/docs"):
        answer = ana.client.get(path)
        assert "Cookie" not in answer.headers.get("vary", "")
        assert answer.headers.get("cache-control") != PRIVATE["cache-control"]


def test_the_route_s_template_labels_a_session_s_requests_in_the_metrics(service: Service, people: People) -> None:
    ana = people()
    ana.get("/sessions")
    ana.delete("/sessions/some-handle")
    text = service.client.get("/metrics").text
    assert f'method="GET",route="{API}/sessions",status="401"' in text
    assert f'route="{API}/sessions/{{handle}}"' in text
    assert "some-handle" not in text


def test_the_address_of_this_machine_in_another_name_is_loopback_too(service: Service) -> None:
    port = service.url.rpartition(":")[2]
    assert socket.gethostbyname("localhost") == "127.0.0.1"
    answer = httpx.patch(f"http://localhost:{port}{API}/session/preferences", json={}, verify=NO_TLS)
    assert answer.status_code == 200
    assert cookie_of(answer).key == COOKIE
