"""The group of commands; a command's own packages are imported when it is run."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points, version
from typing import NoReturn

import rich_click as click

from greenroom.cli.options import flag_of
from greenroom.errors import GreenroomError, InvalidInput
from greenroom.printable import printable

_COMMANDS = {
    "definitions": "Print every keyspace: formats, values and lifetimes.",
    "acl": "Print ACL rules for the server: service, worker, viewer.",
}
ENTRY_POINTS = "greenroom.commands"
"""The entry points of further commands, as those of a platform that stands on this library."""


class _Group(click.RichGroup):
    """Finds commands by name, and turns an error with a remedy into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*(one.name for one in entry_points(group=ENTRY_POINTS)), *_COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            module = importlib.import_module(f"greenroom.cli.{cmd_name}")
            command: click.Command = getattr(module, cmd_name)
            return command
        for entry_point in entry_points(group=ENTRY_POINTS, name=cmd_name):
            loaded: click.Command = entry_point.load()
            return loaded
        return None

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except InvalidInput as error:
            return _fail(ctx, f"{flag_of(error.field)}: {error.reason}; {error.remedy}")
        except GreenroomError as error:
            return _fail(ctx, str(error))


def _fail(ctx: click.Context, text: str) -> NoReturn:
    # Not click's own way: that draws a frame and breaks the line.
    click.echo(f"greenroom: {printable(text)}", err=True)
    ctx.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("greenroom"), prog_name="greenroom")
def group() -> None:
    """Hot data of a service, in Valkey or Redis."""
