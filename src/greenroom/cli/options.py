"""What several commands take: the prefix of keys, and the declarations that are installed."""

from __future__ import annotations

from importlib.metadata import entry_points

import rich_click as click

from greenroom.declarations import Declarations
from greenroom.errors import GreenroomError, InvalidInput
from greenroom.printable import printable

DECLARATIONS = "greenroom.declarations"
"""The entry point by which an installed program declares its keyspaces."""

key_prefix_option = click.option(
    "--key-prefix",
    metavar="PREFIX",
    help="Put before every key, so that environments can share a server. Default: none. [GREENROOM_KEY_PREFIX]",
)


def flag_of(argument: str) -> str:
    """The flag behind an argument of an installed program; the argument itself where there is none."""
    try:
        return installed().flags.get(argument, argument)
    except (GreenroomError, ImportError):  # an error is being told: nothing may hide it
        return argument


def error_line(error: GreenroomError) -> str:
    """An error in one line: of a wrong argument its flag, what is wrong and what would be right."""
    text = str(error)
    if isinstance(error, InvalidInput):
        text = f"{flag_of(error.field)}: {error.reason}; {error.remedy}"
    return f"greenroom: {printable(text)}"


def installed() -> Declarations:
    """What the installed program declares.

    Raises:
        InvalidInput: when none does, and when several do: which of them a server's rules are for nobody could tell.
    """
    entries = list(entry_points(group=DECLARATIONS))
    if not entries:
        raise InvalidInput(
            "keyspaces", "no installed package declares any", f"declare them as the entry point {DECLARATIONS}"
        )
    if len(entries) > 1:
        named = ", ".join(sorted(f"{one.name} = {one.value}" for one in entries))
        raise InvalidInput(
            "keyspaces", f"several packages declare some: {named}", "install one of them in an environment of its own"
        )
    declared: Declarations = entries[0].load()
    return declared
