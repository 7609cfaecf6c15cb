"""Commands that a server refuses for good: remembered until it carries one of the kind out.

Callers go on without the server, or are told that they cannot. Without this no operator learns that a rule of the user
is missing, as long as the connections are up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from greenroom.engine.scripts import Script
from greenroom.engine.wire import Command
from greenroom.errors import EngineRefused

_IN_SCRIPT = re.compile(r"'([A-Za-z|.]+)'")
"""How a server names the command that a script may not use."""


class Refusals:
    """What one server refuses at the moment.

    Arguments:
        scripts: those that it is sent.
    """

    def __init__(self, scripts: Sequence[Script]) -> None:
        self._scripts = {script.sha: script.name for script in scripts}
        self._refused: dict[str, str] = {}  # what was sent → what was refused of it

    def __bool__(self) -> bool:
        return bool(self._refused)

    def __str__(self) -> str:
        names = ", ".join(sorted(set(self._refused.values())))
        return f"the server refuses {names}; give the user what `greenroom acl` prints"

    def note(self, commands: Sequence[Command], replies: Sequence[Any]) -> None:
        """Remember which of the commands were refused, and forget those that were carried out."""
        for command, reply in zip(commands, replies, strict=False):  # a hook may have added to the replies
            sent = _sent(command)
            if isinstance(reply, EngineRefused):
                self._refused[sent] = self._name(command, str(reply))
            elif not isinstance(reply, Exception):
                self._refused.pop(sent, None)

    def _name(self, command: Command, message: str) -> str:
        name = str(command[0]).upper()
        if name != "EVALSHA":
            return name
        # Which of a script's commands it is the server says; Redis 7.0 does not.
        inner = _IN_SCRIPT.search(message)
        return (
            inner[1].upper() if inner is not None else f"a command of the script {self._scripts.get(str(command[1]))}"
        )


def _sent(command: Command) -> str:
    """A command's kind: its name, and with a script's call the script."""
    name = str(command[0]).upper()
    return f"{name} {command[1]!s}" if name == "EVALSHA" else name
