"""The command line, one file per command."""

from __future__ import annotations

import sys

from greenroom.errors import MissingExtra


def main() -> None:
    """The `greenroom` program."""
    try:
        from greenroom.cli.group import group

        group()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("greenroom"):
            raise
        sys.exit(str(MissingExtra("service", "the command line")))
