"""Server-side scripts: `lua/*.lua`, run by hash, loaded at every handshake.

A script that only EVAL has seen may be evicted by the server, and a restarted server knows none: `SCRIPT LOAD` goes
with each handshake, and `NOSCRIPT` is answered by loading the script and running it again. No script begins with a
shebang: under memory pressure the server refuses a shebang script even where it would only read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from greenroom.engine.shapes import ANYTHING, Shape


class Call(tuple[str | bytes | int, ...]):
    """The command that runs a script; it knows what its replies look like, which its name does not tell."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text, the hash that the server knows it by, and what we call it.

    Arguments:
        reply: what it can answer, whatever the data.
    """

    source: str
    reply: Shape = ANYTHING
    name: str = ""
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest())

    @classmethod
    def named(cls, name: str, reply: Shape = ANYTHING) -> Script:
        """The packaged script `lua/<name>.lua`."""
        text = files("greenroom.engine").joinpath("lua", f"{name}.lua").read_text("utf-8")
        return cls(text, reply, name)

    def call(self, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Call:
        """The command that runs it."""
        call = Call(("EVALSHA", self.sha, len(keys), *keys, *args))
        call.shape = self.reply
        return call
