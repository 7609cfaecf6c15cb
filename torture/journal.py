"""The files that events are written to, one for each process; they outlive whoever writes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from torture.history import (
    Contact,
    Crash,
    Drop,
    Emptied,
    Failed,
    Fault,
    Final,
    Held,
    Killed,
    Load,
    Read,
    Refused,
    RolledBack,
    Served,
    Stood,
    Unsettled,
    Write,
    now,
)
from torture.podcast_history import Followed
from torture.session_history import Answer, Begun, Changed, Counted, Ended, EndedAll, Listed, Looked, Resent, Rotated

Happening = (
    (Read | Failed | Write | Held | Load | Drop | Served | Contact | Stood | RolledBack | Unsettled | Refused | Emptied)
    | (Fault | Killed | Crash | Final | Followed)
    | (Begun | Rotated | Changed | Ended | EndedAll | Looked | Listed | Counted | Answer | Resent)
)
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Happening)


class Journal:
    """One process's file of events."""

    def __init__(self, path: Path, process: int) -> None:
        self.process = process
        # Unbuffered: what a process that is killed has seen still counts.
        self._file = path.open("ab", buffering=0)

    def add(self, event: Happening) -> None:
        """Write an event down."""
        self._file.write(_ENCODER.encode(event) + b"\n")

    @contextmanager
    def fault(self, text: str) -> Iterator[None]:
        """Around what is done to the system."""
        began = now()
        try:
            yield
        finally:
            self.add(Fault(self.process, began, now(), text))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def events(path: Path) -> Iterator[Happening]:
    """Everything in a journal's file; a line that was cut off by its writer's end is none."""
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield _DECODER.decode(line)
