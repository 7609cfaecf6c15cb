"""What `-h` says: the form and the default of each setting."""

from __future__ import annotations

import rich_click as click
from click.testing import CliRunner

from greenroom.cli.group import group


def settings(command: click.Command) -> list[click.Option]:
    """The options of a command that are given a value."""
    return [one for one in command.params if isinstance(one, click.Option) and not one.is_flag]


def test_every_value_has_a_form_and_every_setting_its_default() -> None:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        for option in settings(command):
            assert option.metavar or isinstance(option.type, click.Choice), (name, option.name)
            assert "Default: " in (option.help or "") or option.show_default, (name, option.name)


def test_h_is_help_for_the_program_and_every_command() -> None:
    for arguments in ([], *([name] for name in group.list_commands(click.Context(group)))):
        short, long = (CliRunner().invoke(group, [*arguments, flag]) for flag in ("-h", "--help"))
        assert short.exit_code == long.exit_code == 0, (arguments, short.output, long.output)
        assert short.output == long.output
        assert "TEXT" not in short.output, arguments
