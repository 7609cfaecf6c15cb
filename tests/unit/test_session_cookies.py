"""What the session's cookie is called, and when browsers send it."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom import CookieSettings, Greenroom, SessionMiddleware
from greenroom.errors import InvalidInput

TOKEN = "t" * 43


@pytest.mark.parametrize(
    ("options", "secure", "plain"),
    [
        (
            {"name": "shop"},
            f"__Host-shop={TOKEN}; Path=/; Secure; HttpOnly; SameSite=Lax",
            f"shop={TOKEN}; Path=/; HttpOnly; SameSite=Lax",
        ),
        (
            {"same_site": "strict", "domain": "shop.example"},
            f"__Secure-greenroom={TOKEN}; Domain=shop.example; Path=/; Secure; HttpOnly; SameSite=Strict",
            f"greenroom={TOKEN}; Domain=shop.example; Path=/; HttpOnly; SameSite=Strict",
        ),
        (
            {"same_site": "none"},
            f"__Host-greenroom={TOKEN}; Path=/; Secure; HttpOnly; SameSite=None",
            f"greenroom={TOKEN}; Path=/; HttpOnly; SameSite=Lax",
        ),
    ],
)
def test_a_cookie_is_sent_as_its_settings_say(options: dict[str, Any], secure: str, plain: str) -> None:
    cookie = CookieSettings(**options)
    assert cookie.given(TOKEN, secure=True) == secure
    assert cookie.given(TOKEN, secure=False) == plain
    for is_secure in (True, False):
        name, _, _ = cookie.given(TOKEN, secure=is_secure).partition("=")
        assert cookie.values([f"a=b; {name}={TOKEN}".encode()], secure=is_secure) == [TOKEN]
        assert cookie.cleared(secure=is_secure).startswith(f"{name}=; Max-Age=0; ")


def test_a_kept_cookie_says_for_how_long() -> None:
    assert "; Max-Age=60; Path=/" in CookieSettings().given(TOKEN, secure=True, max_age=60)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"name": "a b"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a;b"}, "name"),
        ({"name": "__Host-shop"}, "name"),
        ({"name": None}, "name"),
        ({"same_site": "Lax "}, "same_site"),
        ({"same_site": None}, "same_site"),
        ({"domain": "shop.example; Path=/a"}, "domain"),
        ({"domain": "localhost"}, "domain"),
        ({"domain": "https://shop.example"}, "domain"),
        ({"domain": ".shop.example"}, "domain"),
    ],
)
def test_a_cookie_that_cannot_be_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        CookieSettings(**options)
    assert caught.value.field == named


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Never called."""


def test_a_cookie_for_all_sites_needs_the_origins_it_is_for() -> None:
    room, cookie = Greenroom(), CookieSettings(same_site="none")
    with pytest.raises(InvalidInput, match="allowed_origins"):
        SessionMiddleware(application, room, cookie=cookie)
    SessionMiddleware(application, room, cookie=cookie, allowed_origins=["https://www.shop.example"])


def test_what_weakens_the_cookie_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    SessionMiddleware(application, Greenroom(), cookie=CookieSettings(domain="shop.example"), allow_http=True)
    assert "every subdomain of shop.example can plant" in caplog.text
    assert "over plain HTTP from anywhere" in caplog.text


@pytest.mark.parametrize("wrong", ["everywhere", None, 1])
def test_plain_http_is_allowed_by_one_of_three_words(wrong: Any) -> None:
    with pytest.raises(InvalidInput, match=r"allow_http: .*'loopback', 'localhost', or True"):
        SessionMiddleware(application, Greenroom(), allow_http=wrong)
