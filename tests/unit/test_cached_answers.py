"""The answer that is made of a cached result, header by header."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from greenroom.caching import CacheResult, Outcome
from greenroom.caching.result import digest
from greenroom.errors import InvalidInput
from greenroom.integrations.conditional import CachedAnswer, cached_answer, matches

BODY = b'{"sku":1}'
TAG = f'"{digest(BODY)}"'


def read(body: bytes | None = BODY, outcome: Outcome = Outcome.NEAR, ttl: float | None = 90.5) -> CacheResult[Any]:
    return CacheResult(None, body, outcome, ttl=ttl)


def asked(result: CacheResult[Any], *lines: str, method: str = "GET", **options: Any) -> CachedAnswer:
    headers = [(b"if-none-match", line.encode("latin-1")) for line in lines]
    return cached_answer({"method": method, "headers": headers, "path": "/a b"}, result, **options)


def test_a_value_is_sent_with_its_validator_and_length() -> None:
    made = asked(read())
    assert (made.status, made.body) == (200, BODY)
    assert made.headers == {
        "Cache-Control": "no-cache",
        "Cache-Status": "greenroom; hit; detail=near",
        "ETag": TAG,
        "Content-Type": "application/json",
        "Content-Length": str(len(BODY)),
    }


def test_who_has_it_gets_304_with_the_headers_of_200_and_no_body() -> None:
    made = asked(read(), f'"other", W/{TAG}', vary=["Accept-Language"], max_age=timedelta(minutes=1))
    assert (made.status, made.body) == (304, b"")
    # RFC 9110, 15.4.5: what a cache updates of the answer that it has; neither a type nor a length.
    assert dict(made.headers) == {
        "Cache-Control": "max-age=60",
        "Cache-Status": "greenroom; hit; detail=near",
        "ETag": TAG,
        "Vary": "Accept-Language",
    }


def test_head_has_the_headers_of_get_and_no_body() -> None:
    for result in (read(), read(None)):
        got, head = asked(result), asked(result, method="HEAD")
        assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")
        assert got.body
    assert asked(read(), TAG, method="HEAD").status == 304


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_are_never_answered_with_304(method: str) -> None:
    assert asked(read(), TAG, method=method).status == 200


def test_nothing_is_404_also_for_who_asks_for_any_version() -> None:
    made = asked(read(None), "*")
    assert (made.status, made.headers["Content-Type"]) == (404, "application/problem+json")
    assert json.loads(made.body)["instance"] == "/a%20b"
    assert "ETag" not in made.headers


def test_another_body_has_a_validator_of_its_own() -> None:
    made = asked(read(None), body=b"[]", media_type="text/plain")
    assert (made.status, made.body, made.headers["Content-Type"]) == (200, b"[]", "text/plain")
    assert made.headers["ETag"] == f'"{digest(b"[]")}"' != TAG
    assert asked(read(), TAG, body=b"[]").status == 200


@pytest.mark.parametrize(
    ("outcome", "ttl", "max_age", "words"),
    [
        (Outcome.NEAR, 90.9, None, "no-cache"),
        (Outcome.NEAR, 90.9, 60, "max-age=60"),
        (Outcome.HIT, 90.9, 600, "max-age=90"),
        (Outcome.HIT, 0.9, 600, "no-cache"),
        (Outcome.HIT, 90.9, 0, "no-cache"),
        (Outcome.STALE, -3.0, 600, "no-cache"),
        (Outcome.STALE, 3.0, 600, "no-cache"),
        (Outcome.LOADED, None, 600, "no-cache"),
        (Outcome.SHARED, 40.0, 600, "max-age=40"),
        (Outcome.BYPASSED, None, 600, "no-cache"),
    ],
)
def test_an_answer_is_used_no_longer_than_it_is_known_to_be_fresh(
    outcome: Outcome, ttl: float | None, max_age: int | None, words: str
) -> None:
    age = None if max_age is None else timedelta(seconds=max_age)
    assert asked(read(outcome=outcome, ttl=ttl), max_age=age).headers["Cache-Control"] == words
    private = asked(read(outcome=outcome, ttl=ttl), max_age=age, visibility="private")
    assert private.headers["Cache-Control"] == f"private, {words}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_age", 60),
        ("max_age", timedelta(seconds=-1)),
        ("visibility", "shared"),
        ("vary", "Accept-Language"),
        ("vary", ["a\r\nb"]),
    ],
)
def test_an_argument_that_cannot_be_is_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as raised:
        asked(read(), **{name: value})
    assert raised.value.field == name


@pytest.mark.parametrize(
    "line",
    [f"'x', {TAG}", f'"x, {TAG}', f"{TAG} {TAG}", f'W/"x"{TAG}', f"w/{TAG}", f"*, {TAG}", f"{TAG}, x", f'{TAG}, "'],
)
def test_what_is_no_list_of_tags_names_none(line: str) -> None:
    assert not matches([line], TAG)
