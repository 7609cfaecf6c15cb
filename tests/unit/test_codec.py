"""Values to JSON and back."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from greenroom.errors import BrokenValue, InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.keyspace.lifetime import Lifetime
from greenroom_platform.definitions import SNIPPET, TOPIC
from greenroom_platform.models import Snippet, Topic

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TTL = timedelta(minutes=1)


class Episode(msgspec.Struct, frozen=True):
    episode_id: str
    length: int


@dataclass(frozen=True)
class Host:
    name: str
    age: int


class Guest(BaseModel):
    name: str
    joined: datetime
    note: str | None = None


def topic(**changes: object) -> Topic:
    values: dict[str, object] = {
        "topic_id": "t",
        "display_name": "T",
        "description": "",
        "keywords": ("a",),
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Topic(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("type_", "value", "data"),
    [
        (Episode, Episode("e", 3), b'{"episode_id":"e","length":3}'),
        (tuple[Episode, ...], (Episode("e", 3),), b'[{"episode_id":"e","length":3}]'),
        (Host, Host("h", 40), b'{"name":"h","age":40}'),
        (dict[str, int], {"a": 1}, b'{"a":1}'),
        (Guest, Guest(name="g", joined=NOW), b'{"name":"g","joined":"2026-01-02T03:04:05Z","note":null}'),
        (
            tuple[Guest, ...],
            (Guest(name="g", joined=NOW),),
            b'[{"name":"g","joined":"2026-01-02T03:04:05Z","note":null}]',
        ),
    ],
)
def test_any_of_these_types_makes_the_round_trip(type_: type, value: object, data: bytes) -> None:
    keyspace: Keyspace[object] = Keyspace("x:{a}", type_, ttl=TTL)
    assert keyspace.encode("x:1", value) == data
    assert keyspace.decode("x:1", data) == value
    assert keyspace.codec.schema()


@pytest.mark.parametrize(
    ("type_", "data", "member"),
    [
        (Topic, b'{"topic_id":"t","display_name":7}', "display_name"),
        (Topic, b'{"topic_id":"secret-value"}', "display_name"),
        (Guest, b'{"name":"secret-value"}', "joined"),
        (Guest, b'{"name":["secret-value"],"joined":"2026-01-02T03:04:05Z"}', "name"),
        (Episode, b"secret-value", "JSON"),
    ],
)
def test_what_does_not_fit_names_the_member_and_never_quotes_the_value(type_: type, data: bytes, member: str) -> None:
    with pytest.raises(BrokenValue) as caught:
        Keyspace("x:{a}", type_, ttl=TTL).decode("x:1", data)
    assert member in str(caught.value)
    assert "x:1" in str(caught.value)
    assert "secret-value" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"created_at": NOW.replace(tzinfo=None)}, {"display_name": 7}, {"keywords": None}])
def test_a_value_that_nobody_could_read_back_is_not_let_out(wrong: dict[str, object]) -> None:
    with pytest.raises(BrokenValue):
        TOPIC.encode("cache:topic:t", topic(**wrong))


def test_what_is_nested_beyond_reason_does_not_fit_either() -> None:
    deep = b'{"episode_id":"e","length":3,"more":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(BrokenValue, match="deep"):
        Keyspace("cache:episode:{episode_id}", Episode, ttl=TTL).decode("cache:episode:e", deep)
    nested: dict[str, object] = {}
    for _ in range(100_000):
        nested = {"in": nested}
    with pytest.raises(BrokenValue):
        Keyspace("cache:any:{id}", dict[str, object], ttl=TTL).encode("cache:any:a", nested)


def test_unknown_members_are_no_error_and_any_offset_is_read() -> None:
    data = TOPIC.encode("k", topic()).replace(b'{"topic_id"', b'{"new":[1],"topic_id"', 1)
    data = data.replace(b"03:04:05Z", b"05:04:05+02:00")
    assert TOPIC.decode("k", data) == topic()


def test_absent_optional_members_are_left_out() -> None:
    snippet = Snippet(snippet_id="s", topic_id="t", title="T", text_content="x", generation_timestamp=NOW)
    data = SNIPPET.encode("k", snippet)
    assert b"null" not in data
    assert b"image_url" not in data
    assert SNIPPET.decode("k", data) == snippet
    with pytest.raises(BrokenValue, match="image_url"):
        SNIPPET.decode("k", data.replace(b'{"snippet_id"', b'{"image_url":null,"snippet_id"'))


def test_the_core_needs_no_pydantic() -> None:
    program = (
        "import sys; sys.modules['pydantic'] = None\n"
        "from greenroom_platform.definitions import TOPIC\n"
        "import greenroom.caching, greenroom.engine\n"
        "assert not {'litestar', 'redis', 'prometheus_client'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_jitter_only_shortens_and_by_little() -> None:
    lifetime = Lifetime(timedelta(minutes=30))
    spans = [lifetime.jittered_ms(random / 1000) for random in range(1000)]
    assert max(spans) == 1_800_000
    assert 0.95 * 1_800_000 <= min(spans) < 1_720_000
    assert Lifetime(timedelta(minutes=30), jitter=0).jittered_ms(0.999) == 1_800_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"ttl": timedelta(0)},
        {"ttl": 60},
        {"ttl": None},
        {"ttl": timedelta(minutes=1), "fresh": 30},
        {"ttl": timedelta(minutes=1), "jitter": "no"},
        {"ttl": timedelta(minutes=1), "fresh": timedelta(minutes=1)},
        {"ttl": timedelta(minutes=1), "fresh": timedelta(0)},
        {"ttl": timedelta(minutes=1), "jitter": 1.0},
    ],
)
def test_lifetimes_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Lifetime(**wrong)


@pytest.mark.parametrize("limit", [0, -1, None, "1 MB", 1.5])
def test_a_keyspace_that_stores_nothing_is_refused(limit: Any) -> None:
    with pytest.raises(InvalidInput, match="limit"):
        Keyspace("x:{a}", Episode, ttl=TTL, limit=limit)
