"""Server-side scripts: `lua/*.lua`, run by hash, loaded at every handshake.

A script that only EVAL has seen may be evicted by the server, and a restarted server knows none: `SCRIPT LOAD` goes
with each handshake, and `NOSCRIPT` is answered by loading the script and running it again. No script begins with a
shebang: under memory pressure the server refuses a shebang script even where it would only read.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text, the hash that the server knows it by, and what we call it."""

    source: str
    name: str = ""
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest())

    @classmethod
    def named(cls, name: str) -> Script:
        """The packaged script `lua/<name>.lua`."""
        return cls(files("greenroom.engine").joinpath("lua", f"{name}.lua").read_text("utf-8"), name)
