"""What an operator is told: findings, each with the command that mends it, and the checks that make them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from greenroom.errors import GreenroomError

FINE, WARNINGS, ERRORS = 0, 1, 2
"""Exit statuses of the commands that look: nothing found, warnings, errors."""
Severity = Literal["warning", "error"]
CHECK_DEADLINE = 30.0
"""Seconds that one check may take."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as it should be.

    Arguments:
        kind: which fault it is, the same word each time: programs go by it.
        what: what was found, and where.
        why: what it leads to.
        mend: the command, or the setting, that mends it.
    """

    kind: str
    severity: Severity
    what: str
    why: str
    mend: str


def warning(kind: str, what: str, why: str, mend: str) -> Finding:
    """Something that costs, or will hurt later."""
    return Finding(kind=kind, severity="warning", what=what, why=why, mend=mend)


def error(kind: str, what: str, why: str, mend: str) -> Finding:
    """Something that does not work, or serves what is wrong."""
    return Finding(kind=kind, severity="error", what=what, why=why, mend=mend)


def exit_status(findings: Iterable[Finding]) -> int:
    """The exit status of a command that has found these."""
    severities = {one.severity for one in findings}
    return ERRORS if "error" in severities else WARNINGS if severities else FINE


class NotChecked(GreenroomError):
    """A check cannot be made here; the text says why, and how it can."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked at.

    Arguments:
        name: what, in a few words.
        look: returns what it has found; raises `NotChecked` where it cannot look.
    """

    name: str
    look: Callable[[], Awaitable[Sequence[Finding]]]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A check that was carried out, or was left out for a reason."""

    name: str
    findings: tuple[Finding, ...] = ()
    left_out: str | None = None


async def carry_out(checks: Iterable[Check], *, deadline: float = CHECK_DEADLINE) -> list[Checked]:
    """Carry out checks one after another; one that fails is a finding itself, and holds up no other.

    Arguments:
        deadline: seconds that each may take.
    """
    return [await _carry_out(one, deadline) for one in checks]


async def _carry_out(check: Check, deadline: float) -> Checked:
    try:
        async with asyncio.timeout(deadline):
            found = await check.look()
    except NotChecked as why:
        return Checked(name=check.name, left_out=str(why))
    except TimeoutError:
        failed = f"{check.name}: no answer within {deadline:g} s"
    except GreenroomError as failure:
        failed = f"{check.name}: {failure}"
    else:
        return Checked(name=check.name, findings=tuple(found))
    what = error("not_answered", failed, "what cannot be asked cannot be relied on", "mend this first, and look again")
    return Checked(name=check.name, findings=(what,))
