"""Settings: a flag or a variable each, errors that name the variable and the remedy, and no secret in any text."""

from __future__ import annotations

import os
import stat
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from greenroom.errors import InvalidInput
from greenroom_platform.cli.options import recordings_apart
from greenroom_platform.http.editor_token import kept_token
from greenroom_platform.http.settings import ENV_PREFIX, Settings, flag_name

TOKEN = "token-of-sixteen"
SECRET_URL = "valkey://user:topsecret@cache.example:7000"
# Every setting: its default, a value as text, and the value that is read from the text.
SETTINGS: dict[str, tuple[Any, str, Any]] = {
    "host": ("127.0.0.1", "::1", "::1"),
    "port": (8000, "0", 0),
    "workers": (1, "2", 2),
    "data_dir": (Path("greenroom-data"), "/var/lib/greenroom", Path("/var/lib/greenroom")),
    "valkey_url": (None, SECRET_URL, SECRET_URL),
    "cache_url": (None, "valkey+cluster://c", "valkey+cluster://c"),
    "session_url": (None, "valkeys+sentinel://a,b/mymaster", "valkeys+sentinel://a,b/mymaster"),
    "replica_reads": (False, "on", True),
    "database_url": (None, "sqlite:record.sqlite3", "sqlite:record.sqlite3"),
    "recordings_url": (None, "s3://recordings/night", "s3://recordings/night"),
    "editor_token": (None, TOKEN, TOKEN),
    "control_token": (None, f"{TOKEN}-2", f"{TOKEN}-2"),
    "allowed_origins": (
        (),
        "https://a.example, http://LOCALHOST:3000,",
        ("https://a.example", "http://localhost:3000"),
    ),
    "allowed_hosts": ((), "Example.org., *.example.org,[::1]", ("example.org", "*.example.org", "[::1]")),
    "trusted_proxies": ((), "10.0.0.0/8, ::1", ("10.0.0.0/8", "::1")),
    "key_prefix": ("", "staging:", "staging:"),
    "sample": (None, "OFF", False),
    "work": (True, "off", False),
    "signups_per_hour": (10, "1", 1),
    "sessions_per_minute": (60, "1000000", 1_000_000),
    "streams_per_address": (20, "7", 7),
    "log_format": ("text", "json", "json"),
    "log_level": ("info", "Warning", "warning"),
}
MAY_BE_EMPTY = ("key_prefix", "allowed_origins", "allowed_hosts", "trusted_proxies")
NEEDS: dict[str, dict[str, str]] = {"replica_reads": {"valkey_url": "valkey+cluster://a"}}
"""What a setting is nothing without."""


def read(flags: dict[str, str] | None = None, /, **variables: str) -> Settings:
    """The settings of these variables, their names without the prefix, and flags."""
    return Settings.read({ENV_PREFIX + name.upper(): text for name, text in variables.items()}, flags or {})


def test_there_are_exactly_these_settings() -> None:
    assert [one.name for one in fields(Settings)] == list(SETTINGS)
    assert all(one.metadata["help"] for one in fields(Settings))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_has_a_default_a_variable_and_a_flag_that_wins(name: str) -> None:
    default, text, value = SETTINGS[name]
    with_it = NEEDS.get(name, {})
    assert getattr(read(), name) == default
    assert getattr(read(**{name: text}, **with_it), name) == value
    assert getattr(read({name: text}, **with_it), name) == value
    assert getattr(read({name: text}, **{name: "another"}, **with_it), name) == value


@pytest.mark.parametrize("name", SETTINGS)
def test_an_empty_variable_is_one_that_is_not_set(name: str) -> None:
    assert read(**{name: ""}) == read()


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in MAY_BE_EMPTY])
def test_an_empty_flag_is_refused_where_nothing_can_be_meant(name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read({name: ""})
    assert caught.value.field == flag_name(name)


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("GREENROOM_PROT", "GREENROOM_PORT"),
        ("GREENROOM_ALLOWED_ORIGIN", "GREENROOM_ALLOWED_ORIGINS"),
        ("GREENROOM_DATABASE", "GREENROOM_DATABASE_URL"),
        ("GREENROOM_LOGLEVEL", "GREENROOM_LOG_LEVEL"),
        ("GREENROOM_TOKEN", "GREENROOM_EDITOR_TOKEN"),
        ("GREENROOM_port", "GREENROOM_PORT"),
    ],
)
def test_an_unknown_variable_is_an_error_that_names_the_nearest(variable: str, near: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Settings.read({variable: "x", "PATH": "/bin"}, {})
    assert (caught.value.field, caught.value.remedy) == (variable, f"did you mean {near}?")


def test_variables_of_others_are_no_concern() -> None:
    assert Settings.read({"PORT": "x", "GREENROOMS": "x", "MY_GREENROOM_PORT": "x"}, {}) == read()


BAD = [
    ("port", "65536", "0 to 65535"),
    ("port", "-1", "0 to 65535"),
    ("port", "80a", "0 to 65535"),
    ("port", "٣", "0 to 65535"),
    ("port", "9" * 5000, "0 to 65535"),
    ("workers", "0", "1 to 64"),
    ("workers", "1.5", "1 to 64"),
    ("valkey_url", "http://cache.example", "valkey://"),
    ("cache_url", "cache.example:6379", "valkey://"),
    ("session_url", "valkey://", "valkey://"),
    ("database_url", "postgres://db.example", "sqlite:"),
    ("database_url", "record.sqlite3", "sqlite:"),
    ("editor_token", "x" * 15, "16 or more"),
    ("editor_token", "with spaces in the middle", "16 or more"),
    ("editor_token", "with-a-letter-like-é", "16 or more"),
    ("editor_token", "with-a-line-break\n", "16 or more"),
    ("control_token", "x" * 15, "16 or more"),
    ("control_token", "with-a-line-break\n", "16 or more"),
    ("allowed_origins", "*", "https://example.org"),
    ("allowed_origins", "https://*.example", "https://example.org"),
    ("allowed_origins", "listen.example", "https://example.org"),
    ("allowed_origins", "https://listen.example/", "https://example.org"),
    ("allowed_origins", "https://user@listen.example", "https://example.org"),
    ("allowed_origins", "https://listen.example https://b.example", "https://example.org"),
    ("allowed_origins", "null", "https://example.org"),
    ("allowed_origins", "https://[:::]", "https://example.org"),
    ("allowed_origins", "https://listen.example:443", "write https://listen.example"),
    ("allowed_origins", "http://a.example,http://listen.example:80", "write http://listen.example"),
    ("allowed_origins", "http://listen.example:08080", "write http://listen.example:8080"),
    ("allowed_origins", "https://[0:0:0:0:0:0:0:1]:443", "write https://[::1]"),
    ("allowed_origins", "https://listen.example:99999", "1 to 65535"),
    ("allowed_origins", "https://listen.example:65536", "1 to 65535"),
    ("allowed_origins", "https://listen.example:0", "1 to 65535"),
    ("allowed_hosts", "listen.example:443", "without scheme, port"),
    ("allowed_hosts", "[:::]", "without scheme, port"),
    ("trusted_proxies", "*", "10.0.0.1"),
    ("trusted_proxies", "proxy.example", "10.0.0.1"),
    ("trusted_proxies", "10.0.0.1/8", "10.0.0.1"),
    ("trusted_proxies", "10.0.0.0/33", "10.0.0.1"),
    ("key_prefix", "a{b", "without spaces and braces"),
    ("sample", "yes", "on, off"),
    ("signups_per_hour", "0", "1 to 1000000"),
    ("sessions_per_minute", "many", "1 to 1000000"),
    ("streams_per_address", "1000001", "1 to 1000000"),
    ("log_format", "xml", "text, json"),
    ("log_level", "trace", "debug, info, warning, error"),
]


@pytest.mark.parametrize(("name", "text", "remedy"), BAD, ids=[f"{name}-{text[:12]}" for name, text, _ in BAD])
def test_a_value_that_cannot_be_is_refused_by_name_with_a_remedy(name: str, text: str, remedy: str) -> None:
    for settings, called in (({}, ENV_PREFIX + name.upper()), ({name: text}, flag_name(name))):
        with pytest.raises(InvalidInput) as caught:
            read(settings, **({} if settings else {name: text}))
        assert caught.value.field == called
        assert str(caught.value).startswith(f"{called}: ")
        assert remedy in caught.value.remedy
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("url", ["http://u:topsecret@h", "valkey://u:topsecret@h:99999", "valkey://u:topsecret@h/x"])
@pytest.mark.parametrize("name", ["valkey_url", "cache_url", "session_url", "database_url"])
def test_an_error_repeats_no_secret(name: str, url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(**{name: url})
    assert "topsecret" not in str(caught.value)


def test_a_token_that_is_refused_is_not_repeated() -> None:
    with pytest.raises(InvalidInput) as caught:
        read(editor_token="topsecret")
    assert "topsecret" not in str(caught.value)


def test_who_may_look_and_who_may_act_have_two_tokens() -> None:
    for flags, variables, name in (
        ({}, {"control_token": TOKEN}, "GREENROOM_CONTROL_TOKEN"),
        ({"control_token": TOKEN}, {}, "--control-token"),
    ):
        with pytest.raises(InvalidInput) as caught:
            read(flags, editor_token=TOKEN, **variables)
        assert caught.value.field == name
        assert TOKEN not in str(caught.value)


def test_the_text_of_settings_shows_no_secret() -> None:
    settings = read(
        editor_token=TOKEN,
        control_token=f"{TOKEN}-2",
        valkey_url=SECRET_URL,
        cache_url=SECRET_URL,
        session_url=SECRET_URL,
    )
    for text in (repr(settings), str(settings)):
        assert TOKEN not in text
        assert "topsecret" not in text


def test_a_token_is_made_once_in_a_private_file(tmp_path: Path) -> None:
    data = tmp_path / "made" / "data"
    before = os.umask(0)
    try:
        made = kept_token(data)
    finally:
        os.umask(before)
    (path,) = data.iterdir()
    assert (path.name, stat.S_IMODE(path.stat().st_mode)) == ("editor-token", 0o600)
    assert len(made) >= 32
    assert kept_token(data) == made, "it stays from one start to the next"
    assert kept_token(tmp_path / "another") != made


@pytest.mark.parametrize("content", ["", "short", "with spaces in the middle of it", "\0" * 32])
def test_a_token_file_that_holds_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "editor-token").write_text(content)
    with pytest.raises(InvalidInput) as caught:
        kept_token(tmp_path)
    assert "delete the file, or set GREENROOM_EDITOR_TOKEN" in str(caught.value)
    assert not content or content not in str(caught.value)


def test_a_token_file_that_cannot_be_used_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "editor-token").mkdir()
    with pytest.raises(InvalidInput, match="set GREENROOM_EDITOR_TOKEN"):
        kept_token(tmp_path)


def test_a_child_process_reads_the_same_settings_from_its_environment() -> None:
    every = read(**{name: text for name, (_, text, _) in SETTINGS.items()})
    assert Settings.read(every.environ(), {}) == every
    assert Settings.read(read().environ(), {}) == read()


def test_the_caches_and_the_sessions_fall_back_to_the_common_server() -> None:
    assert (read().cache_address, read().session_address) == (None, None)
    common = read(valkey_url="valkey://a")
    assert (common.cache_address, common.session_address) == ("valkey://a", "valkey://a")
    apart = read(valkey_url="valkey://a", cache_url="valkey://b", session_url="valkey://c")
    assert (apart.cache_address, apart.session_address) == ("valkey://b", "valkey://c")


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("::1, 2001:db8::/32", "2001:db8:1::9", "2001:db9::1"),
    ],
)
async def test_the_server_trusts_exactly_the_proxies_that_are_accepted_here(
    text: str, inside: str, outside: str
) -> None:
    seen = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["client"][0])

    server: Any = ProxyHeadersMiddleware(app, list(read(trusted_proxies=text).trusted_proxies))
    for proxy in (inside, outside):
        await server(
            {"type": "http", "client": (proxy, 1), "headers": [(b"x-forwarded-for", b"203.0.113.9")]}, ..., ...
        )
    assert seen == ["203.0.113.9", outside]


@pytest.mark.parametrize(
    ("settings", "is_told"),
    [
        ({}, False),
        ({"database_url": "mongodb://db/greenroom"}, True),
        ({"database_url": "mongodb://db/greenroom", "recordings_url": "here"}, True),
        ({"database_url": "mongodb://db/greenroom", "recordings_url": "s3://bucket/prefix"}, False),
        ({"database_url": "sqlite:elsewhere/record.sqlite3"}, False),
    ],
)
def test_a_record_of_many_with_recordings_of_one_is_told(settings: dict[str, str], is_told: bool) -> None:
    said = recordings_apart(Settings(data_dir=Path("here"), **settings))  # type: ignore[arg-type]
    assert (said is not None) is is_told
    assert said is None or "GREENROOM_RECORDINGS_URL" in said
