"""A violation, with what happened around it, for whoever looks for the cause."""

from __future__ import annotations

from collections.abc import Sequence

from torture.checker import Violation
from torture.history import (
    Drop,
    Emptied,
    Event,
    Fault,
    Killed,
    Load,
    Read,
    Refused,
    RolledBack,
    Served,
    Stood,
    Unsettled,
    Write,
)
from torture.journal import Happening
from torture.session_history import Begun, Changed, Ended, EndedAll, Looked, Resent, Rotated

_BEFORE, _AFTER = 1.0, 0.1
"""Seconds told of before the first event that matters and after the last."""
_LINES = 80


def explained(history: Sequence[Happening], violation: Violation) -> str:
    """The violation and the events of its key around it, as lines; times count from the wrong event's begin."""
    wrong, drop = violation.event, violation.drop
    key = getattr(wrong, "key", "")
    start = min(wrong.began, drop.began if drop is not None else wrong.began) - _BEFORE
    around = [
        one for one in history if start <= one.ended and one.began <= wrong.ended + _AFTER and _matters(one, wrong, key)
    ]
    around.sort(key=lambda one: one.began)
    lines = [f"  {_told(one, wrong.began)}" for one in around[-_LINES:]]
    return "\n".join([f"{violation.reason}: {_told(wrong, wrong.began)}", *lines])


def _matters(one: Happening, wrong: Event, key: str) -> bool:
    match one:
        case Read():
            return one.key == key and (one.process == wrong.process or one.how == "server")
        case Write() | Drop() | Load():
            return one.key == key
        case Served() | Stood() | Killed() | Fault() | RolledBack() | Emptied() | Unsettled() | Refused():
            return True
        case Resent() | EndedAll():
            return bool(getattr(wrong, "session", ""))
        case Begun() | Rotated() | Changed() | Ended() | Looked():
            session = getattr(wrong, "session", "")
            return bool(session) and session in (one.session, getattr(one, "successor", ""))
    return one is wrong


def _told(one: Event, zero: float) -> str:
    fields = {name: getattr(one, name) for name in one.__struct_fields__ if name not in ("process", "began", "ended")}
    told = ", ".join(f"{name} {value}" for name, value in fields.items())
    who = "driver" if one.process < 0 else f"process {one.process}"
    return f"{one.began - zero:+9.4f} … {one.ended - zero:+9.4f}  {who:9}  {type(one).__name__} {told}"
