"""Addresses: what is read, what is refused, and that a password is never shown."""

from __future__ import annotations

import pytest

from greenroom.engine import Address
from greenroom.engine.address import Sentinels
from greenroom.engine.transport.tls import Tls
from greenroom.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("valkey://localhost", Address((("localhost", 6379),))),
        ("redis://10.0.0.1:7000/3", Address((("10.0.0.1", 7000),), database=3)),
        ("valkeys://u:p%40ss@h:1", Address((("h", 1),), username="u", password="p@ss", tls=Tls())),
        ("rediss://:secret@h", Address((("h", 6379),), username="default", password="secret", tls=Tls())),
        (
            "valkeys://h:1/2?server_name=cache.test",
            Address((("h", 1),), database=2, tls=Tls(server_name="cache.test")),
        ),
        ("valkey://[::1]:6380", Address((("::1", 6380),))),
        ("unix:///run/valkey.sock", Address((), path="/run/valkey.sock")),
        ("valkey://app:@h", Address((("h", 6379),), username="app", password="")),
        ("valkey://@h", Address((("h", 6379),))),
        ("unix:///run/%ff.sock", Address((), path="/run/\udcff.sock")),
        ("unix://u:p@/run/v.sock", Address((), path="/run/v.sock", username="u", password="p")),
        (
            "valkey+cluster://u:p%40@[fd00::1]:7001,b:2,[fd00::2]",
            Address((("fd00::1", 7001), ("b", 2), ("fd00::2", 6379)), cluster=True, username="u", password="p@"),
        ),
        (
            "valkey+sentinel://[fd00::1],[fd00::2]:7/mymaster",
            Address((("fd00::1", 26379), ("fd00::2", 7)), sentinels=Sentinels("mymaster")),
        ),
        ("valkey+cluster://a:1,b:2", Address((("a", 1), ("b", 2)), cluster=True)),
        (
            "valkey+sentinel://a,b:7/mymaster",
            Address((("a", 26379), ("b", 7)), sentinels=Sentinels("mymaster")),
        ),
        (
            "redis+sentinel://u:p@a/my-master.1/3?sentinel_user=s&sentinel_password=q%40",
            Address(
                (("a", 26379),),
                username="u",
                password="p",
                database=3,
                sentinels=Sentinels("my-master.1", "s", "q@"),
            ),
        ),
        (
            "valkeys+sentinel://a/m?server_name=cache.test&sentinel_password=q",
            Address((("a", 26379),), tls=Tls(server_name="cache.test"), sentinels=Sentinels("m", None, "q")),
        ),
        ("rediss+cluster://a", Address((("a", 6379),), cluster=True, tls=Tls())),
    ],
)
def test_known_forms_are_read(text: str, expected: Address) -> None:
    assert Address.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:6379",
        "http://localhost",
        "valkey://",
        "valkey://h:port",
        "valkey://h:99999",
        "valkey://h:0",
        "valkey+cluster://h:7001,h:0",
        "valkey://h/db",
        "valkey://h?x=1",
        "valkey://h?server_name=h",
        "unix:///run/v.sock?x=1",
        "valkey://a,b",
        "valkey+cluster://a/1",
        "valkey+sentinel://a",
        "unix://",
        "unix+cluster:///a",
        "valkey://[::1",
        "valkey+cluster://[::1],[::2",
        "valkey+cluster://[::1],b]",
        "valkey+cluster://[::1],",
    ],
)
def test_other_forms_are_refused_by_the_name_of_the_setting(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Address.parse(text, field="GREENROOM_VALKEY_URL")
    assert caught.value.field == "GREENROOM_VALKEY_URL"
    assert "valkey" in caught.value.remedy or "leave" in caught.value.remedy or "unix" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("valkey+sentinel://a", "does not name the primary"),
        ("valkey+sentinel://a/", "does not name the primary"),
        ("valkey+sentinel://a/my%20master", "characters"),
        ("valkey+sentinel://a/m/x", "database number"),
        ("valkey+sentinel://a/m?sentinel_user=u", "sentinel_user has no password"),
        ("valkey+sentinel://a/m?sentinel_password=", "'sentinel_password' needs one value"),
        ("valkey+sentinel://a/m?server_name=x", "use valkeys+sentinel://"),
        ("valkeys+sentinel://a/m?unknown=x", "'unknown' is not known"),
        ("valkey+sentinel:///m", "a host is missing"),
        ("valkey://a..b", "it is not a URL"),
        (f"valkey://{'a' * 64}", "it is not a URL"),
        ("valkey://h\udcff", "it is not a URL"),
        ("valkey://u\udcff:p@h", "it is not a URL"),
        ("unix://u:p\udcff@/s.sock", "it is not a URL"),
        ("valkey+sentinel://a/m?sentinel_user=\udcff&sentinel_password=p", "it is not a URL"),
        ("valkey://a,b/0", "+sentinel://"),
    ],
)
def test_what_is_wrong_with_an_address_of_sentinels_is_named(text: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Address.parse(text, field="GREENROOM_VALKEY_URL")
    assert caught.value.field == "GREENROOM_VALKEY_URL"
    assert words in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "valkey://topsecret@h:1",
        "rediss://topsecret@h",
        "valkey+cluster://topsecret@a,b",
        "valkey+sentinel://topsecret@a/m",
        "unix://topsecret@/run/v.sock",
    ],
)
def test_a_user_without_a_password_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Address.parse(text, field="GREENROOM_VALKEY_URL")
    assert caught.value.field == "GREENROOM_VALKEY_URL"
    assert caught.value.remedy == "write user:password@, or user:@ for one that needs none"
    assert "topsecret" not in str(caught.value), "it may be the password"


@pytest.mark.parametrize("text", ["unix://run/valkey.sock", "unix://u:p@run/valkey.sock", "unix://localhost"])
def test_a_host_of_a_unix_socket_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Address.parse(text, field="GREENROOM_VALKEY_URL")
    assert caught.value.field == "GREENROOM_VALKEY_URL"
    assert caught.value.remedy == "write three slashes, like unix:///run/valkey.sock"


def test_the_text_of_an_address_of_sentinels_shows_no_password() -> None:
    address = Address.parse("redis+sentinel://u:topsecret@a,b:7/m/2?sentinel_password=topsecret")
    assert str(address) == "redis+sentinel://u@a:26379,b:7/m/2"
    assert "topsecret" not in repr(address)


@pytest.mark.parametrize("scheme", ["valkey", "redis", "valkeys", "rediss", "redis+cluster", "rediss+cluster"])
def test_the_text_repeats_the_scheme_that_was_written(scheme: str) -> None:
    assert str(Address.parse(f"{scheme}://h:7000")) == f"{scheme}://h:7000"


@pytest.mark.parametrize("text", ["valkeys://u:topsecret@h:1", "unix://u:topsecret@/s.sock", "redis://:topsecret@h"])
def test_a_password_is_never_shown(text: str) -> None:
    address = Address.parse(text)
    assert "topsecret" not in str(address)
    assert "topsecret" not in repr(address)
    with pytest.raises(InvalidInput) as caught:
        Address.parse(text.replace("redis://", "wrong://").replace("valkeys://", "wrong://").replace("unix", "wrong"))
    assert "topsecret" not in str(caught.value)
