"""What every action of an operator has in common: a reason, a line in the log before it, and its outcome after it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from greenroom.caching import Cache
from greenroom.errors import InvalidInput, RecordError
from greenroom.keyspace import Keyspace
from greenroom_platform.domain.action_log import WHY_MAX, Action, ActionLog
from greenroom_platform.http.control.room import ControlRoom
from greenroom_platform.http.problems import Problem, as_problem, invalid, shown
from greenroom_platform.http.state import ServiceState
from greenroom_platform.models import User

log = logging.getLogger("greenroom.control")


def reason(why: str) -> str:
    """A reason that the log can show.

    Raises:
        Problem: 422 for none.
    """
    why = why.strip()
    if not 1 <= len(why) <= WHY_MAX or not why.isprintable():
        raise invalid("why", "is not a reason", f"say in 1 to {WHY_MAX} printable characters why this is done")
    return why


def log_kept(state: ServiceState) -> ActionLog:
    """The log of what operators do.

    Raises:
        Problem: 501 where the record keeps none.
    """
    actions = state.platform.actions
    if actions is None:
        raise Problem("not-installed", "this record keeps no log of what operators do; give it a member `actions`")
    return actions


# docs/decisions/0102-actions-are-logged-before-they-are-done.md
async def act(
    state: ServiceState, who: str, kind: str, target: str, why: str, work: Callable[[], Awaitable[str]]
) -> Action:
    """Do something, with its line in the log; goes on to its end when the caller is gone.

    Arguments:
        work: does it, and returns its outcome in words.

    Raises:
        RecordError: where the log cannot be written: nothing is done then.
        Whatever the work raises, with its outcome in the log.
    """
    return await state.platform.changes.detached.finish(_act(state, who, kind, target, why, work))


async def _act(
    state: ServiceState, who: str, kind: str, target: str, why: str, work: Callable[[], Awaitable[str]]
) -> Action:
    actions = log_kept(state)
    action = Action(at=datetime.now(UTC), who=who, kind=kind, target=target, why=reason(why))
    number = await actions.begin(action)
    log.warning("%s: %s %s (%s)", who, kind, target, action.why)
    try:
        outcome = await work()
    except Exception as error:
        await _note(actions, number, f"failed: {as_problem(error).detail}")
        raise
    finally:
        state.control.forget()
    await _note(actions, number, outcome)
    return Action(number=number, at=action.at, who=who, kind=kind, target=target, why=action.why, outcome=outcome)


async def _note(actions: ActionLog, number: int, outcome: str) -> None:
    """Write down what became of an action, whose line says `begun` where that fails.

    Prevents: the action is done · the record goes away · the operator is told 503, and does it once more.
    """
    try:
        await actions.end(number, outcome)
    except RecordError as error:
        log.warning("the outcome of action %d is not in the record (%s): %s", number, error, outcome)


def cache_named(control: ControlRoom, name: str) -> Cache[Any]:
    """The cache of a keyspace.

    Raises:
        Problem: 404 where there is none.
    """
    cache = control.caches.get(name)
    if cache is None:
        raise Problem("not-found", f"no cache has the name {shown(name)}; there are {', '.join(control.caches)}")
    return cache


def parts_of(
    keyspace: Keyspace[Any], given: Mapping[str, object], names: tuple[str, ...] | None = None
) -> dict[str, Any]:
    """The parts of a key as it takes them, from their texts.

    Arguments:
        names: those that are wanted; all of the key where this is left out.

    Raises:
        Problem: 422 for one that is missing, unknown, or that no key can hold.
    """
    wanted = keyspace.pattern.names if names is None else names
    for name in given:
        if name not in wanted:
            raise invalid(name[:64], "is not a part of this key", f"send {', '.join(wanted) or 'none'}")
    parts = {}
    for name in wanted:
        part = keyspace.pattern.parts[name]
        text = str(given.get(name, ""))
        try:
            parts[name] = part.parse(text)
            part.check(name, parts[name])
        except InvalidInput as error:
            raise invalid(name, error.reason, error.remedy) from None
        except ValueError:
            raise invalid(name, f"{shown(text)} is not one", f"send {part.described()}") from None
    return parts


async def user_named(state: ServiceState, name: str) -> User:
    """The user of an id or a name.

    Raises:
        Problem: 404 where there is none.
    """
    users = getattr(state.platform.records, "users", None)
    # Prevents: a user's id is made another user's name, in a record from before that was refused · an operator ends
    # the sessions of the first by the id · those of the second end.
    found = None
    if users is not None:
        # An id of another program's may have capitals.
        found = await users.user(name) or await users.user(name.lower()) or await users.user_by_name(name.lower())
    if not isinstance(found, User):
        raise Problem("not-found", "there is no user of this name or id")
    return found
