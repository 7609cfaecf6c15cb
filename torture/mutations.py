"""One thing wrong in a stream of frames, chosen by chance: bytes changed, frames replaced, too many, or decorated.

No stream from which replies are lost, and that is a right one otherwise: nobody could tell.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from torture.frames import loses_replies

ATTRIBUTES = (
    b"|1\r\n+ttl\r\n:3600\r\n",
    b"|0\r\n",
    b"|2\r\n$3\r\nk|y\r\n*2\r\n~1\r\n#t\r\n%1\r\n+a\r\n,1.5\r\n+b\r\n|1\r\n+inner\r\n_\r\n:1\r\n",
)
STRANGE = (
    b"#t\r\n",
    b"#f\r\n",
    b",1.5\r\n",
    b",nan\r\n",
    b",inf\r\n",
    b"%1\r\n+a\r\n:1\r\n",
    b"%1\r\n*1\r\n:1\r\n:1\r\n",
    b"%1\r\n%0\r\n:1\r\n",
    b"~3\r\n:1\r\n:2\r\n:3\r\n",
    b"*1\r\n*1\r\n*1\r\n:1\r\n",
    b"*4294967294\r\n",
    b"*-2\r\n",
    b"!5\r\nERR x\r\n",
    b":99999999999999999999999999\r\n",
    b">0\r\n",
    b">1\r\n:1\r\n",
    b">2\r\n+pubsub\r\n+x\r\n",
    b">1\r\n$10\r\ninvalidate\r\n",
    b">2\r\n$10\r\ninvalidate\r\n:1\r\n",
    b">2\r\n$10\r\ninvalidate\r\n*1\r\n*0\r\n",
    b"?\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
)
"""What no command that we send is answered with, and no push that is asked for: each ends the connection."""
FITTING = (
    b"_\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b":0\r\n",
    b":-9223372036854775808\r\n",
    b":9223372036854775807\r\n",
    b"*0\r\n",
    b"*4\r\n_\r\n_\r\n_\r\n_\r\n",
    b"*4\r\n$2\r\n\xff\xfe\r\n$2\r\n\xff\xfe\r\n$2\r\n\xff\xfe\r\n$2\r\n\xff\xfe\r\n",
    b"*2\r\n$2\r\n\xff\xfe\r\n$1\r\na\r\n",
    b"*1\r\n*2\r\n$2\r\n\xff\xfe\r\n,inf\r\n",
    b"*1\r\n*2\r\n$2\r\n\xff\xfe\r\n,nan\r\n",
    b"*1\r\n*2\r\n$1\r\na\r\n,-inf\r\n",
    b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n",
    b"*2\r\n$4\r\nwait\r\n:-1\r\n",
    b"*3\r\n$6\r\nfailed\r\n$2\r\n\xff\xfe\r\n:1\r\n",
    b"*3\r\n$7\r\nwritten\r\n$2\r\n{}\r\n$2\r\n\xff\xfe\r\n",
    b"*2\r\n$7\r\ndiffers\r\n$2\r\n\xff\xfe\r\n",
    b"*1\r\n%2\r\n+slots\r\n*2\r\n:-5\r\n:99999\r\n+nodes\r\n*0\r\n",
    b"*1\r\n%2\r\n+slots\r\n*0\r\n+nodes\r\n*1\r\n%3\r\n+health\r\n+online\r\n+role\r\n+master\r\n+port\r\n,inf\r\n",
    b"$2\r\n\xff\xfe\r\n",
    b"+OK\r\n",
    b"-ERR \xff\xfe\r\n",
    b"-\r\n",
    b"-MOVED\r\n",
    b"-MOVED 99999 x:1\r\n",
    b"-MOVED -1 :1\r\n",
    b"-MOVED 1 x:99999999999\r\n",
    b"-ASK 1 \xff:0\r\n",
    b"-NOSCRIPT x\r\n",
    b"-READONLY x\r\n",
    b"-LOADING x\r\n",
    b"-OOM x\r\n",
    b"-NOPERM x\r\n",
    b"-TRYAGAIN x\r\n",
    b"-WRONGTYPE x\r\n",
)
"""In a reply's place: what some command could be answered, and what a foreign program may have made of the data."""


class Mutation(NamedTuple):
    """What was done to a burst of replies.

    Arguments:
        way: its name.
        before: the frames.
        data: the bytes that came instead.
    """

    way: str
    before: bytes
    data: bytes

    def __str__(self) -> str:
        pairs = enumerate(zip(self.before, self.data, strict=False))
        same = next((at for at, (was, became) in pairs if was != became), min(len(self.before), len(self.data)))
        start = max(0, same - _AROUND)
        before, after = (data[start : same + _AROUND] for data in (self.before, self.data))
        return f"{self.way} at {same} of {len(self.before)}: {before!r} became {after!r}"


_AROUND = 30
"""Bytes before and after the first one that differs, where a mutation is printed."""


def mutate(frames: list[bytes], chance: random.Random) -> Mutation:
    """Choose one thing to be wrong with the frames, or decorate them."""
    while True:
        name, way = chance.choice(_WAYS)
        data = way(list(frames), chance)
        # docs/decisions/0077-lost-replies-of-the-right-shape-cannot-be-told.md
        if not loses_replies(frames, data):
            return Mutation(name, b"".join(frames), data)


def _replaced(frames: list[bytes], chance: random.Random) -> bytes:
    frames[chance.randrange(len(frames))] = chance.choice(STRANGE + FITTING)
    return b"".join(frames)


def _too_many(frames: list[bytes], chance: random.Random) -> bytes:
    # Not of a fitting one: a frame too many of the right shape cannot be told, neither by us nor by anybody.
    frames.insert(chance.randrange(len(frames) + 1), chance.choice(STRANGE))
    return b"".join(frames)


def _decorated(frames: list[bytes], chance: random.Random) -> bytes:
    frames.insert(chance.randrange(len(frames) + 1), chance.choice(ATTRIBUTES))
    at = chance.randrange(len(frames))
    head, line, rest = frames[at].partition(b"\r\n")
    if head[:1] == b"*" and head != b"*-1" and rest:
        frames[at] = head + line + chance.choice(ATTRIBUTES) + rest
    return b"".join(frames)


def _bytes(change: Callable[[bytearray, int, random.Random], None]) -> Callable[[list[bytes], random.Random], bytes]:
    def changed(frames: list[bytes], chance: random.Random) -> bytes:
        data = bytearray(b"".join(frames))
        change(data, chance.randrange(len(data)), chance)
        return bytes(data)

    return changed


def _flip(data: bytearray, at: int, chance: random.Random) -> None:
    data[at] = chance.choice(b"$*%~>|+-:,#_(=!0123456789\r\n \xff\x00a")


def _insert(data: bytearray, at: int, chance: random.Random) -> None:
    data[at:at] = bytes(chance.choice(b"$*%~>|+-:,#_(=!0123456789\r\n \xff") for _ in range(chance.randint(1, 3)))


def _cut(data: bytearray, at: int, chance: random.Random) -> None:
    del data[at : at + chance.randint(1, 4)]


_WAYS = (
    ("replaced", _replaced),
    ("replaced", _replaced),
    ("too many", _too_many),
    ("decorated", _decorated),
    ("flipped", _bytes(_flip)),
    ("flipped", _bytes(_flip)),
    ("inserted", _bytes(_insert)),
    ("cut", _bytes(_cut)),
)
