"""The group of commands; a command's own packages are imported when it is run."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points, version
from typing import NoReturn

import rich_click as click

from greenroom.cli.options import error_line
from greenroom.errors import GreenroomError, MissingExtra
from greenroom.extras import needs_extra

_COMMANDS = {
    "definitions": "Print every keyspace: formats, values and lifetimes.",
    "acl": "Print ACL rules for the server: service, worker, viewer.",
    "audit": "Compare a sample of the stored keys with their declarations and the record.",
    "doctor": "Check everything that the program uses, and say how to mend problems.",
    "explain": "Explain a key: its keyspace, its place and its value.",
    "size": "Estimate the memory of each keyspace on the servers.",
    "status": "Show the state of the program, with a line for each keyspace and server.",
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
            try:
                with needs_extra("service", f"greenroom {cmd_name}"):
                    loaded: click.Command = entry_point.load()
            except MissingExtra as error:
                return _without(cmd_name, error)
            return loaded
        return None

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except GreenroomError as error:
            # Not click's own way: that draws a frame and breaks the line.
            click.echo(error_line(error), err=True)
            ctx.exit(1)


def _without(name: str, error: MissingExtra) -> click.Command:
    """A command that is listed, and says what is to be installed: without it the others work."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise error

    return click.RichCommand(
        name=name,
        callback=refuse,
        help=f"Needs the extra `{error.extra}`.",
        context_settings={"ignore_unknown_options": True},
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
    )


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("greenroom"), prog_name="greenroom")
def group() -> None:
    """Hot data of a service, in Valkey or Redis."""
