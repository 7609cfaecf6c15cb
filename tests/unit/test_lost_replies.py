"""The torture tells streams that a server could send which loses replies, and makes none of them."""

from __future__ import annotations

import random

import pytest

from torture.frames import loses_replies
from torture.mutations import mutate

SESSION = b"*4\r\n$2\r\nu%d\r\n$1\r\n1\r\n_\r\n_\r\n"
FRAMES = [b":1\r\n", SESSION % 0, SESSION % 1, b"$4\r\nPONG\r\n", SESSION % 2, b":1\r\n", SESSION % 3]
WHOLE = b"".join(FRAMES)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"".join(FRAMES[1:]), id="the first is cut out"),
        pytest.param(b"".join(FRAMES[:2] + FRAMES[3:]), id="one in the middle is cut out"),
        pytest.param(b"|0\r\n" + b"".join(FRAMES[1:]), id="with an attribute"),
        pytest.param(b">2\r\n+a\r\n_\r\n" + b"".join(FRAMES[1:]), id="with a push"),
        pytest.param(b"|1\r\n+a\r\n" + WHOLE, id="one has become an attribute's value"),
        pytest.param(b"$%d\r\n" % (len(b"".join(FRAMES[:3])) - 2) + WHOLE, id="some have become a text"),
        pytest.param(b"".join(FRAMES[1:]) + b"?", id="malformed only behind it"),
    ],
)
def test_a_later_reply_in_the_place_of_an_earlier_one_is_a_lost_one(data: bytes) -> None:
    assert loses_replies(FRAMES, data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(WHOLE, id="as it was"),
        pytest.param(b"|1\r\n+a\r\n:1\r\n>1\r\n+a\r\n" + WHOLE, id="decorated"),
        pytest.param(b"|" + WHOLE[1:], id="an attribute whose key is not a text"),
        pytest.param(WHOLE.replace(b"$1\r\n1\r\n_", b"$2\r\n1\r\n_", 1), id="a text of another length"),
        pytest.param(b"_\r\n" + WHOLE, id="one too many"),
        pytest.param(b"?\r\n" + b"".join(FRAMES[1:]), id="malformed before"),
        pytest.param(b"".join([*FRAMES[:5], b":2\r\n", *FRAMES[6:]]), id="another in its place"),
        pytest.param(b"".join(FRAMES[:-1]), id="the last is cut out"),
    ],
)
def test_every_other_stream_can_be_told_or_is_right(data: bytes) -> None:
    assert not loses_replies(FRAMES, data)


def test_no_mutation_is_such_a_stream() -> None:
    chance = random.Random("greenroom")
    assert not any(loses_replies(FRAMES, mutate(FRAMES, chance).data) for _ in range(2000))
