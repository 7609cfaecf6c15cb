"""From headers, scheme and peer to plain signals; the cookie's attributes and its parsing."""

from __future__ import annotations

from typing import Any

import pytest

from greenroom.sessions import cookie, policy
from greenroom.sessions.policy import Carrier, Kind, Origin, Signals, Token, Transport, origins, signals_of

# The same in every run: the ids of tests are made of them.
TOKEN, OTHER = "kCQOuhvsO2xAHNgQ577TW1X6uqQppvyjcfz7603UDRY", "iMudwOn7X0IdDMYafR8_BTW7UD6wpsrzsgdE5G5q14I"
ALLOWED = origins(["https://app.example"])


def signals(
    *headers: tuple[str, str],
    kind: str = "http",
    method: str = "GET",
    scheme: str = "https",
    host: str = "pods.example",
    client: Any = ("203.0.113.9", 50000),
) -> Signals:
    """The signals of a request to `host`; a header's value is latin-1."""
    fields = [(b"host", host.encode())] if host else []
    fields += [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope: dict[str, Any] = {"type": kind, "scheme": scheme, "headers": fields, "client": client, "path": "/"}
    if kind == "http":
        scope["method"] = method
    return signals_of(scope, ALLOWED)


def test_the_cookie_is_host_bound_httponly_and_secure() -> None:
    assert cookie.DEFAULT.given(TOKEN, secure=True) == (
        f"__Host-greenroom={TOKEN}; Path=/; Secure; HttpOnly; SameSite=Lax"
    )
    assert cookie.DEFAULT.cleared(secure=True) == "__Host-greenroom=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax"


def test_on_plain_loopback_it_goes_without_the_prefix_and_secure() -> None:
    assert cookie.DEFAULT.given(TOKEN, secure=False) == f"greenroom={TOKEN}; Path=/; HttpOnly; SameSite=Lax"
    assert cookie.DEFAULT.cleared(secure=False) == "greenroom=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax"


@pytest.mark.parametrize(
    "line",
    [
        "__Host-greenroom={}",
        "a=b; __Host-greenroom={}",
        "a=b;__Host-greenroom={};c=d",
        "a; =x; ;  __Host-greenroom = {} ; z",
        'quoted="; x"; __Host-greenroom={}',
        "ü=ü; __Host-greenroom={}",
    ],
)
def test_the_cookie_is_found_among_others(line: str) -> None:
    found = signals(("cookie", line.format(TOKEN)))
    assert (found.token, found.carrier, found.text) == (Token.PRESENT, Carrier.COOKIE, TOKEN)


def test_the_cookie_is_found_in_the_second_of_two_headers() -> None:
    # HTTP/2 lets a client split them (RFC 9113, 8.2.3).
    assert signals(("cookie", "a=b"), ("cookie", f"__Host-greenroom={TOKEN}")).text == TOKEN


@pytest.mark.parametrize(
    "line", ["", "a=b", "greenroom={}", "__host-greenroom={}", "x__Host-greenroom={}", "__Host-greenroom"]
)
def test_no_other_cookie_is_taken_for_it(line: str) -> None:
    assert signals(("cookie", line.format(TOKEN))).token is Token.ABSENT


@pytest.mark.parametrize(
    "value", ["", "short", "x" * 44, "x" * 5000, TOKEN[:-1] + "=", TOKEN[:-1] + "ü", f'"{TOKEN}"', TOKEN[:-1] + ":"]
)
def test_what_cannot_be_a_token_is_malformed(value: str) -> None:
    for header in (("cookie", f"__Host-greenroom={value}"), ("authorization", f"Bearer {value}")):
        found = signals(header)
        assert (found.token, found.text) == (Token.MALFORMED, "")


def test_of_two_tokens_none_is_taken() -> None:
    twice = f"__Host-greenroom={TOKEN}; __Host-greenroom={OTHER}"
    assert signals(("cookie", twice)).token is Token.MALFORMED
    both = ("authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {OTHER}")
    assert signals(*both).token is Token.MALFORMED


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_token_goes_before_a_cookie(scheme: str) -> None:
    found = signals(("cookie", f"__Host-greenroom={OTHER}"), ("authorization", f"{scheme} {TOKEN}"))
    assert (found.token, found.carrier, found.text) == (Token.PRESENT, Carrier.BEARER, TOKEN)


def test_credentials_of_another_scheme_are_somebody_else_s() -> None:
    found = signals(("cookie", f"__Host-greenroom={TOKEN}"), ("authorization", "Basic dTpw"))
    assert (found.carrier, found.text) == (Carrier.COOKIE, TOKEN)
    assert signals(("authorization", f"Digest {TOKEN}")).token is Token.ABSENT


@pytest.mark.parametrize(
    ("scheme", "host", "client", "expected"),
    [
        ("https", "pods.example", "203.0.113.9", Transport.SECURE),
        ("wss", "pods.example", "203.0.113.9", Transport.SECURE),
        ("https", "localhost", "127.0.0.1", Transport.SECURE),
        ("http", "localhost:8000", "127.0.0.1", Transport.LOOPBACK),
        ("ws", "127.0.0.1:8000", "127.0.0.1", Transport.LOOPBACK),
        ("http", "[::1]:8000", "::1", Transport.LOOPBACK),
        ("http", "studio.localhost", "::ffff:127.0.0.1", Transport.LOOPBACK),
        ("http", "127.8.9.10", "127.0.0.1", Transport.LOOPBACK),
        ("http", "pods.example", "203.0.113.9", Transport.PLAIN),
        ("http", "localhost", "203.0.113.9", Transport.PLAIN),
        ("http", "192.168.1.5:8000", "192.168.1.4", Transport.PLAIN),
        ("http", "pods.example", "127.0.0.1", Transport.PLAIN),  # a proxy that does not say how its clients came
        ("http", "127.0.0.1.evil.example", "127.0.0.1", Transport.PLAIN),
        ("http", "localhost:port", "127.0.0.1", Transport.PLAIN),
        ("http", "", "127.0.0.1", Transport.PLAIN),
        ("http", "localhost", "testclient", Transport.PLAIN),
    ],
)
def test_the_transport_is_secure_on_this_machine_or_plain(
    scheme: str, host: str, client: str, expected: Transport
) -> None:
    assert signals(scheme=scheme, host=host, client=(client, 1)).transport is expected


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Forwarded-Host",
            "X-Forwarded-Port",
            "X-Real-IP",
            "Via",
        ),
        *("X-Forwarded", "X-Forwarded-By", "X-Forwarded-Ssl", "X-Forwarded-Scheme", "Forwarded-For", "X-Client-IP"),
        *("CF-Connecting-IP", "True-Client-IP", "Fastly-Client-IP", "X-Cluster-Client-IP", "X-Original-Host"),
        *("X-Original-Forwarded-For", "X-Envoy-External-Address", "X-Url-Scheme", "X-Scheme", "Front-End-Https"),
        *("Fly-Client-IP", "X-Azure-ClientIP", "X-AppEngine-User-IP", "X-ProxyUser-Ip", "X-Host", "DO-Connecting-IP"),
    ],
)
def test_what_a_proxy_adds_makes_loopback_plain_unless_it_is_trusted(name: str) -> None:
    def found(port: int) -> Signals:
        return signals((name.lower(), "127.0.0.1"), scheme="http", host="localhost", client=("127.0.0.1", port))

    assert found(50000).transport is Transport.PLAIN
    assert name.lower() in found(50000).plain
    assert "GREENROOM_TRUSTED_PROXIES" in found(50000).plain
    assert (found(0).transport, found(0).plain) == (Transport.LOOPBACK, "")
    assert signals((name.lower(), "127.0.0.1"), scheme="https").transport is Transport.SECURE


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://localhost:8000", Transport.LOOPBACK),
        ("http://127.0.0.1:5173", Transport.LOOPBACK),
        ("https://[::1]", Transport.LOOPBACK),
        ("https://pods.example", Transport.PLAIN),
        ("https://app.example", Transport.PLAIN),
        ("http://localhost.evil.example", Transport.PLAIN),
        ("null", Transport.PLAIN),
        ("http://localhost:port", Transport.PLAIN),
        ("http://localhost/" + "a" * 400, Transport.PLAIN),
    ],
)
def test_a_page_of_another_machine_makes_loopback_plain(origin: str, expected: Transport) -> None:
    found = signals(("origin", origin), scheme="http", host="localhost", client=("127.0.0.1", 50000))
    assert found.transport is expected
    assert ("GREENROOM_TRUSTED_PROXIES" in found.plain) == (expected is Transport.PLAIN)


def test_what_was_seen_is_told_cut_and_without_control_characters() -> None:
    found = signals(scheme="http", host="evil\x1b[31m" + "a" * 200, client=("127.0.0.1", 50000))
    assert "evil\\x1b[31m" in found.plain
    assert len(found.plain) < 400
    bridge = signals(scheme="http", host="localhost:8000", client=("172.17.0.1", 50000))
    assert "172.17.0.1" in bridge.plain
    assert "host's network" in bridge.plain


def test_who_comes_over_a_unix_socket_is_not_known_to_be_on_this_machine() -> None:
    assert signals(scheme="http", host="localhost", client=None).transport is Transport.PLAIN


def test_each_transport_has_its_own_cookie() -> None:
    both = ("cookie", f"__Host-greenroom={TOKEN}; greenroom={OTHER}")
    assert signals(both).text == TOKEN
    assert signals(both, scheme="http", host="localhost", client=("127.0.0.1", 1)).text == OTHER


ORIGINS: list[tuple[list[tuple[str, str]], Origin]] = [
    ([], Origin.NONE),
    ([("origin", "https://pods.example")], Origin.SAME),
    ([("origin", "https://PODS.example:443")], Origin.SAME),
    ([("origin", "https://pods.example:8443")], Origin.FOREIGN),
    ([("origin", "http://pods.example")], Origin.FOREIGN),
    ([("origin", "https://evil.example")], Origin.FOREIGN),
    ([("origin", "https://pods.example.evil.example")], Origin.FOREIGN),
    ([("origin", "null")], Origin.FOREIGN),
    ([("origin", "")], Origin.FOREIGN),
    ([("origin", "https://pods.example:x")], Origin.FOREIGN),
    ([("origin", "https://pods.example"), ("origin", "https://evil.example")], Origin.FOREIGN),
    ([("origin", "https://app.example")], Origin.ALLOWED),
    ([("origin", "https://app.example"), ("sec-fetch-site", "cross-site")], Origin.ALLOWED),
    ([("origin", "https://app.example"), ("origin", "https://evil.example")], Origin.FOREIGN),
    ([("sec-fetch-site", "same-origin")], Origin.SAME),
    ([("sec-fetch-site", "none")], Origin.SAME),
    ([("sec-fetch-site", "same-site")], Origin.FOREIGN),
    ([("sec-fetch-site", "cross-site")], Origin.FOREIGN),
    ([("sec-fetch-site", "something-new")], Origin.FOREIGN),
    ([("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], Origin.FOREIGN),
    ([("origin", "https://pods.example"), ("sec-fetch-site", "cross-site")], Origin.FOREIGN),
]


@pytest.mark.parametrize(("headers", "expected"), ORIGINS)
def test_an_origin_is_absent_own_allowed_or_foreign(headers: list[tuple[str, str]], expected: Origin) -> None:
    assert signals(*headers).origin is expected


def test_without_visible_tls_an_own_page_may_have_either_scheme() -> None:
    # A proxy that ends TLS may keep the scheme to itself.
    for origin in ("http://pods.example", "https://pods.example"):
        assert signals(("origin", origin), scheme="http").origin is Origin.SAME


def test_an_origin_is_nobody_s_own_where_the_request_names_no_host() -> None:
    assert signals(("origin", "https://pods.example"), host="").origin is Origin.FOREIGN


@pytest.mark.parametrize(
    ("method", "unsafe"),
    [
        ("GET", False),
        ("HEAD", False),
        ("OPTIONS", False),
        ("TRACE", False),
        ("POST", True),
        ("PUT", True),
        ("PATCH", True),
        ("DELETE", True),
        ("PURGE", True),
        ("get", True),
    ],
)
def test_a_method_is_unsafe_unless_it_is_known_to_be_safe(method: str, unsafe: bool) -> None:
    assert signals(method=method).unsafe is unsafe


def test_a_websocket_has_no_method() -> None:
    assert signals(kind="websocket", scheme="wss").kind is Kind.WEBSOCKET


def test_allowed_origins_are_compared_as_browsers_write_them() -> None:
    assert origins(["https://App.Example/", "http://localhost:5173"]) == {
        "https://app.example",
        "http://localhost:5173",
    }
    # They leave out the scheme's own port, and no other.
    assert origins(["https://a.example:443/", "http://[::1]:80"]) == {"https://a.example", "http://[::1]"}
    assert origins(["https://a.example:80", "http://b:443", "http://c:8080"]) == {
        *("https://a.example:80", "http://b:443", "http://c:8080")
    }


def test_ways_are_remembered_but_not_those_that_are_long_or_secrets() -> None:
    policy._known.cache_clear()
    for number in range(3):
        found = signals(("cookie", f"__Host-greenroom={TOKEN}"), client=("203.0.113.9", 50000 + number))
        assert (found.text, found.transport, found.origin) == (TOKEN, Transport.SECURE, Origin.NONE)
    assert policy._known.cache_info().currsize == 1  # nothing of a token in it, and nothing of a port
    for number in range(3):
        assert signals(("origin", f"https://{'x' * 600}{number}"), host="pods.example").origin is Origin.FOREIGN
    assert policy._known.cache_info().currsize == 1
    plain = {"scheme": "http", "host": "localhost"}
    assert signals(("x-forwarded-for", "9.9.9.9"), client=("127.0.0.1", 9), **plain).transport is Transport.PLAIN
    assert signals(("x-forwarded-for", "9.9.9.9"), client=("127.0.0.1", 0), **plain).transport is Transport.LOOPBACK
    assert policy._known.cache_info().maxsize == policy._WAYS
