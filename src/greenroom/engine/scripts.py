"""Server-side scripts: `lua/*.lua`, run by hash, loaded at every handshake.

A script that only EVAL has seen may be evicted by the server, and a restarted server knows none: `SCRIPT LOAD` goes
with each handshake, and `NOSCRIPT` is answered by loading the script and running it again. No script begins with a
shebang: under memory pressure the server refuses a shebang script even where it would only read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from greenroom.engine.shapes import ANYTHING, Shape


class Call(tuple[str | bytes | int, ...]):
    """The command that runs a script; it knows what its replies look like, which its name does not tell."""

    script: Script


def _unknown(_: Any) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text and the hash that the server knows it by.

    Arguments:
        reply: what it can answer, whatever the data.
        wrote: whether an answer proves that it has written what takes memory.
        deleted: whether an answer proves that it has written at all, as by a DEL.
    """

    source: str
    reply: Shape = ANYTHING
    wrote: Callable[[Any], bool] = _unknown
    deleted: Callable[[Any], bool] = _unknown
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest())

    @classmethod
    def named(
        cls,
        name: str,
        reply: Shape = ANYTHING,
        wrote: Callable[[Any], bool] = _unknown,
        deleted: Callable[[Any], bool] = _unknown,
        *,
        functions: Sequence[str] = (),
    ) -> Script:
        """The packaged script `lua/<name>.lua`.

        Arguments:
            functions: the packaged files with the functions that it calls.
        """
        folder = files("greenroom.engine").joinpath("lua")
        source = "".join(folder.joinpath(f"{one}.lua").read_text("utf-8") for one in (*functions, name))
        return cls(source, reply, wrote, deleted)

    def call(self, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Call:
        """The command that runs it."""
        call = Call(("EVALSHA", self.sha, len(keys), *keys, *args))
        call.script = self
        return call
