"""The command line, one file per command."""

from __future__ import annotations

import sys

from greenroom.errors import MissingExtra
from greenroom.extras import needs_extra


def main() -> None:
    """The `greenroom` program."""
    try:
        with needs_extra("cli", "the command line"):
            from greenroom.cli.group import group
        with needs_extra("service", "this command"):
            group()
    except MissingExtra as error:
        sys.exit(f"greenroom: {error}")
