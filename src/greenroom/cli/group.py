"""The group of commands; a command's own packages are imported when it is run."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import NoReturn

import rich_click as click

from greenroom.errors import GreenroomError, InvalidInput
from greenroom.printable import printable

COMMANDS = {
    "serve": "Run the service.",
    "work": "Make the podcasts that are asked for.",
    "load": "Load topics and snippets from NDJSON files into the record.",
    "definitions": "Print every keyspace: formats, values and lifetimes.",
    "acl": "Print ACL rules for the server: service, worker, viewer.",
}
_HOMES = {"definitions": "greenroom", "acl": "greenroom"}
_FLAGS = {"data_dir": "--data-dir", "database": "--database-url"}
"""The flags behind what the library knows as arguments."""


class _Group(click.RichGroup):
    """Finds commands by name, and turns an error with a remedy into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"{_HOMES.get(cmd_name, 'greenroom_platform')}.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except InvalidInput as error:
            return _fail(ctx, f"{_FLAGS.get(error.field, error.field)}: {error.reason}; {error.remedy}")
        except GreenroomError as error:
            return _fail(ctx, str(error))


def _fail(ctx: click.Context, text: str) -> NoReturn:
    # Not click's own way: that draws a frame and breaks the line.
    click.echo(f"greenroom: {printable(text)}", err=True)
    ctx.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("greenroom"), prog_name="greenroom")
def group() -> None:
    """The hot-data tier of a podcast platform, in Valkey or Redis."""
