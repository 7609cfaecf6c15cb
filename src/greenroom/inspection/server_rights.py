"""Who may do what on a server, and settings that INFO does not tell: for an administrator, who alone may ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from greenroom.acl import Rules
from greenroom.engine.operator import OperatorConnection
from greenroom.errors import CommandFailed, EngineRefused
from greenroom.findings import Finding, NotChecked, error, warning

_ADMINISTRATOR = "name an administrator of the server with --admin-url"
_SHOWN = 6


async def timeout(look: OperatorConnection) -> Sequence[Finding]:
    """Whether the server cuts off clients that are silent.

    Raises:
        NotChecked: when the user may not ask.
    """
    found = []
    settings = await _config(look, "timeout")
    if (seconds := settings.get("timeout", "0")) != "0":
        what = f"{look.address} disconnects clients after {seconds} s without a command (`timeout`)"
        why = "a client that was disconnected comes back with an empty near cache"
        found.append(
            warning("idle_timeout", what, why, "valkey-cli CONFIG SET timeout 0, and in its configuration file")
        )
    if not look.shard.slots:
        return found
    settings = await _config(look, "cluster-require-full-coverage")
    if settings.get("cluster-require-full-coverage") == "yes":
        what = f"{look.address} has cluster-require-full-coverage yes"
        why = "when one shard is lost all nodes refuse, and every read goes to the record"
        mend = "valkey-cli CONFIG SET cluster-require-full-coverage no, on every node and in its configuration file"
        found.append(warning("full_coverage", what, why, mend))
    return found


async def rights(look: OperatorConnection, user: str, role: str, wanted: Rules) -> Sequence[Finding]:
    """Whether a user has exactly the rules of a role.

    Arguments:
        user: the name by which a command or program logs in.
        role: of `greenroom acl`.

    Raises:
        NotChecked: when the user that asks may not.
    """
    try:
        told = await look.ask("ACL", "GETUSER", user)
    except (EngineRefused, CommandFailed) as refusal:
        raise NotChecked(f"{look.address} does not tell its rules ({refusal}); {_ADMINISTRATOR}") from None
    mend = f"greenroom acl {role} --user {user} --password-stdin | valkey-cli"
    if not isinstance(told, Mapping):
        what = f"{look.address} has no user {user}"
        return (error("no_user", what, f"the {role} cannot log in", mend),)
    has, needs = _commands(told) | _keys(told), {*wanted.text().split()} - {"resetkeys", "resetchannels", "-@all"}
    found: list[Finding] = []
    if missing := _uncovered(needs, has):
        what = f"{user} at {look.address} lacks {_some(missing)}"
        found.append(error("rights_missing", what, f"the {role} is refused what it needs", mend))
    if more := _uncovered(has, needs):
        what = f"{user} at {look.address} has {_some(more)} beside what it needs"
        why = f"whoever gets the password of the {role} may do that as well"
        found.append(warning("rights_beyond", what, why, mend))
    return found


async def _config(look: OperatorConnection, name: str) -> dict[str, str]:
    try:
        told = await look.ask("CONFIG", "GET", name)
    except (EngineRefused, CommandFailed) as refusal:
        raise NotChecked(f"{look.address} does not tell its settings ({refusal}); {_ADMINISTRATOR}") from None
    return {key.decode(): value.decode() for key, value in told.items()}


def _uncovered(rules: set[str], by: set[str]) -> set[str]:
    """Rules that others do not include; `+command` includes `+command|docs`, and some servers then list that alone."""
    return {rule for rule in rules if rule not in by and rule.partition("|")[0] not in by}


def _commands(told: Mapping[bytes, Any]) -> set[str]:
    return {rule for rule in told.get(b"commands", b"").decode().split() if rule.startswith("+")}


def _keys(told: Mapping[bytes, Any]) -> set[str]:
    return {*told.get(b"keys", b"").decode().split()}


def _some(rules: set[str]) -> str:
    named = sorted(rules)
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    return " ".join(named[:_SHOWN]) + more
