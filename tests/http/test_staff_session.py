"""`/staff/session`: editors and operators on the pages, by a cookie that no store keeps."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from greenroom_platform.http import staff_session
from greenroom_platform.http.auth import WRONG_TOKENS
from tests.support.patience import wait_for
from tests.support.problem_checks import blamed, problem
from tests.support.running_service import API, CONTROL_TOKEN, KEPT, NO_TLS, TOKEN, Service

SESSION = f"{API}/staff/session"
COOKIE = "greenroom-staff"
TOPIC = {"display_name": "Staff", "description": "", "keywords": []}


@pytest.fixture
def browser(service: Service) -> Iterator[httpx.Client]:
    """A browser: it keeps cookies."""
    with httpx.Client(base_url=service.url, verify=NO_TLS, limits=KEPT) as browser:
        yield browser


def sign_in(browser: httpx.Client, token: str = TOKEN, who: str = "ann") -> httpx.Response:
    return browser.post(SESSION, json={"token": token, "who": who})


def test_the_editor_token_gives_a_cookie_that_edits_until_one_signs_out(browser: httpx.Client) -> None:
    before = datetime.now(UTC)
    answer = sign_in(browser, who=" Ann B. ")
    after = datetime.now(UTC)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["role"], told["who"]) == ("act", "Ann B.")
    until = datetime.fromisoformat(told["until"])
    assert before + timedelta(hours=11, minutes=59) < until <= after + timedelta(hours=12)
    (cookie,) = answer.headers.get_list("set-cookie")
    name, _, attributes = cookie.partition("=")
    assert name == COOKIE
    assert attributes.endswith("; Max-Age=43200; Path=/; HttpOnly; SameSite=Strict")
    assert TOKEN not in cookie
    assert answer.headers["cache-control"] == "private, no-store"

    assert browser.get(SESSION).json() == told
    made = browser.put(f"{API}/topics/by_cookie", json=TOPIC)
    assert made.status_code == 201
    assert browser.delete(f"{API}/topics/by_cookie").status_code == 204
    assert browser.get(f"{API}/activity").status_code == 200
    assert browser.delete(SESSION).status_code == 204
    assert COOKIE not in browser.cookies
    problem(browser.get(SESSION), 401, "unauthorized")
    problem(browser.put(f"{API}/topics/by_cookie", json=TOPIC), 401, "unauthorized")


def test_the_control_token_gives_a_cookie_that_only_looks(service: Service, browser: httpx.Client) -> None:
    assert sign_in(browser, CONTROL_TOKEN, "bob").json()["role"] == "read"
    assert browser.get(SESSION).json()["who"] == "bob"
    refused = problem(browser.put(f"{API}/topics/by_looker", json=TOPIC), 403, "forbidden")
    assert "editor token" in refused["detail"]
    bearer = {"Authorization": f"Bearer {CONTROL_TOKEN}"}
    told = service.client.get(SESSION, headers=bearer).json()
    assert (told["role"], told["until"]) == ("read", None)
    problem(service.client.delete(f"{API}/topics/x", headers=bearer), 403, "forbidden")


def test_a_page_of_another_origin_cannot_use_the_cookie(browser: httpx.Client) -> None:
    sign_in(browser)
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "same-site"}):
        problem(browser.put(f"{API}/topics/of-another-origin", json=TOPIC, headers=headers), 403, "forbidden")
        problem(browser.delete(SESSION, headers=headers), 403, "forbidden")
    assert browser.get(f"{API}/topics/of-another-origin").status_code == 404


def test_over_an_open_line_no_token_is_looked_at(browser: httpx.Client) -> None:
    outside = {"X-Forwarded-For": "203.0.113.9"}
    refused = browser.post(SESSION, json={"token": TOKEN, "who": "ann"}, headers=outside)
    problem(refused, 403, "forbidden")
    sign_in(browser)
    problem(browser.get(SESSION, headers=outside), 401, "unauthorized")


def test_behind_a_proxy_the_cookie_is_secure_and_bound_to_the_host() -> None:
    assert staff_session.COOKIE.given("v", secure=True).startswith(
        "__Host-greenroom-staff=v; Path=/; Secure; HttpOnly; "
    )


@pytest.mark.parametrize("who", ["", "  ", "x" * 65, "two\nlines", "bell\x07"])
def test_a_name_that_no_log_could_show_is_refused(browser: httpx.Client, who: str) -> None:
    assert blamed(sign_in(browser, who=who)) == ("who", "send 1 to 64 printable characters")
    assert COOKIE not in browser.cookies


def test_an_old_cookie_is_taken_away_by_the_answer(browser: httpx.Client) -> None:
    browser.cookies.set(COOKIE, "old.cookie", domain="127.0.0.1", path="/")
    answer = browser.get(SESSION)
    problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert COOKIE not in browser.cookies


def test_guesses_count_together_however_they_come(service: Service) -> None:
    """As a token to sign in with, in a header, or as a cookie that would be right if the guessed token were."""
    transport = httpx.HTTPTransport(local_address="127.0.0.41")
    with httpx.Client(base_url=service.url, transport=transport) as guesser:
        for number in range(WRONG_TOKENS.most):
            match number % 3:
                case 0:
                    answer = guesser.post(SESSION, json={"token": "guessed-token-of-editors", "who": "eve"})
                case 1:
                    answer = guesser.get(SESSION, headers={"Authorization": "Bearer guessed-token-of-editors"})
                case _:
                    answer = guesser.get(SESSION, headers={"Cookie": f"{COOKIE}=guessed.cookie"})
            problem(answer, 401, "unauthorized")
        problem(guesser.get(SESSION, headers={"Cookie": f"{COOKIE}=guessed.cookie"}), 429, "too-many-requests")
        problem(sign_in(guesser), 429, "too-many-requests")
        problem(guesser.get(SESSION), 401, "unauthorized")


def test_no_token_is_in_the_log_and_the_name_is(service: Service, browser: httpx.Client) -> None:
    sign_in(browser, who="Ann of the log")
    wait_for(lambda: "Ann of the log signed in to the pages, and may act" in service.output())
    for secret in (TOKEN, CONTROL_TOKEN, browser.cookies[COOKIE]):
        assert secret not in service.output()
