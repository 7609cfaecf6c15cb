"""Range requests (RFC 9110, section 14): what is a range, what is ignored, and what cannot be satisfied."""

from __future__ import annotations

import pytest

from greenroom_platform.http.ranges import Unsatisfiable, requested


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=0-99", range(100)),
        ("bytes=0-100", range(100)),
        ("bytes=0-999999999999999999", range(100)),
        ("bytes=10-19", range(10, 20)),
        ("bytes=99-99", range(99, 100)),
        ("bytes=99-", range(99, 100)),
        ("bytes=0-", range(100)),
        ("bytes=-1", range(99, 100)),
        ("bytes=-100", range(100)),
        ("bytes=-1000", range(100)),
        ("Bytes=1-2", range(1, 3)),
        (" bytes= 1-2 ", range(1, 3)),
        ("bytes=007-8", range(7, 9)),
    ],
)
def test_one_range_is_its_bytes(header: str, expected: range) -> None:
    assert requested([header], 100) == expected


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=1.5-2",
        "bytes=0x1-2",
        "bytes=2-1",
        "bytes=1-2,4-5",
        "bytes=1-2,",
        "bytes=,1-2",
        "bytes 1-2",
        "bytes =1-2",
        "bytes=1 - 2",
        "seconds=1-2",
        "bytes=\u0661-\u0662",
        "bytes=1000000000000000000-",
    ],
)
def test_what_is_no_single_range_is_ignored(header: str) -> None:
    assert requested([header], 100) is None


def test_no_header_and_two_of_them_ask_for_everything() -> None:
    assert requested([], 100) is None
    assert requested(["bytes=0-1", "bytes=4-5"], 100) is None


@pytest.mark.parametrize(
    ("header", "size"),
    [("bytes=100-", 100), ("bytes=100-200", 100), ("bytes=-0", 100), ("bytes=0-", 0), ("bytes=-5", 0)],
)
def test_a_range_without_any_byte_is_unsatisfiable(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        requested([header], size)
