"""Addresses: what is read, what is refused, and that a password is never shown."""

from __future__ import annotations

import pytest

from greenroom.engine import Address
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
        ("unix://u:p@/run/v.sock", Address((), path="/run/v.sock", username="u", password="p")),
        ("valkey+cluster://a:1,b:2", Address((("a", 1), ("b", 2)), cluster=True)),
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
    ],
)
def test_other_forms_are_refused_by_the_name_of_the_setting(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Address.parse(text, field="GREENROOM_VALKEY_URL")
    assert caught.value.field == "GREENROOM_VALKEY_URL"
    assert "valkey" in caught.value.remedy or "leave" in caught.value.remedy or "unix" in caught.value.remedy


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
