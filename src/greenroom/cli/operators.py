"""What the commands that look have in common: whose servers, as which user, and how findings are printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import rich_click as click

from greenroom.acl import Holds
from greenroom.cli.lookup import declared_at
from greenroom.cli.options import error_line, installed, key_prefix_option
from greenroom.declarations import Declarations
from greenroom.deployment import Deployment, Setting
from greenroom.engine import Address
from greenroom.errors import GreenroomError, InvalidInput
from greenroom.findings import ERRORS, Checked, Finding
from greenroom.printable import printable, printable_json

F = TypeVar("F", bound=Callable[..., Any])

_SERVERS = (
    Setting("valkey_url", "URL", "The server, with the program's user. Default: the program's own."),
    Setting("cache_url", "URL", "The server of the caches. Default: that of --valkey-url."),
    Setting("session_url", "URL", "The server of the sessions. Default: that of --valkey-url."),
)
_VIEWERS = (
    Setting(
        "viewer_url",
        "URL",
        "The server of the caches with a user of the role viewer, who may look for keys. Default: the same address.",
    ),
    Setting("session_viewer_url", "URL", "The same of the sessions' own server. Default: the same address."),
)
_ADMINS = (
    Setting(
        "admin_url",
        "URL",
        "The server of the caches with a user who may ask for users and settings. Default: the same address.",
    ),
    Setting("session_admin_url", "URL", "The same of the sessions' own server. Default: the same address."),
)


class OperatorCommand(click.RichCommand):
    """A command that looks: 0 where all is well, 1 for warnings, 2 for errors, and for what it cannot look at."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except GreenroomError as error:
            click.echo(error_line(error), err=True)
            ctx.exit(ERRORS)


def operator_options(*, admin: bool = False) -> Callable[[F], F]:
    """Add the flags of a command that looks; those of the installed program too.

    Arguments:
        admin: whether it may be given an administrator's address.
    """
    settings = [*_SERVERS, *_VIEWERS, *(_ADMINS if admin else ()), *_installed_settings()]

    def decorate(function: F) -> F:
        function = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(function)
        for one in reversed(settings):
            flag = f"--{one.name.replace('_', '-')}"
            function = click.option(flag, one.name, metavar=one.form, help=one.help)(function)
        function = key_prefix_option(function)
        return click.option(
            "--keyspaces",
            metavar="MODULE:NAME",
            help="A room, a Keyspaces, or a list of keyspaces, as shop.keys:SHOP. Default: the installed program.",
        )(function)

    return decorate


def bounds_options(function: F) -> F:
    """Add the flags that bound how much is looked at, and how fast."""
    options = (
        ("sample", click.IntRange(2, 100_000), 200, "Keys of each kind to check closely."),
        ("keys", click.IntRange(1), 100_000, "Keys of each server to scan."),
        ("rate", click.FloatRange(0.1, 10_000), 100.0, "Commands per second, at most."),
    )
    for name, kind, default, text in reversed(options):
        flag = f"--{name}"
        function = click.option(flag, metavar="NUMBER", type=kind, default=default, show_default=True, help=text)(
            function
        )
    return function


@dataclass(frozen=True, slots=True)
class ServerAddresses:
    """A server that is looked at.

    Arguments:
        holds: what the program keeps there.
        address: with the program's own user.
        viewer: with a user who may look for keys.
        admin: with a user who may ask for users and settings.
    """

    holds: Holds
    address: Address
    viewer: Address | None
    admin: Address | None


@dataclass(frozen=True, slots=True)
class Program:
    """Whose servers are looked at: what it declares, with which prefix, and where everything is."""

    declared: Declarations
    prefix: str
    deployment: Deployment
    servers: tuple[ServerAddresses, ...]


def program(
    keyspaces: str | None, key_prefix: str | None, flags: dict[str, str | None], *, needs_server: bool = True
) -> Program:
    """The program that the flags name.

    Arguments:
        needs_server: whether a program without a known server is an error.

    Raises:
        InvalidInput: for a flag that is wrong, and where no server is known.
    """
    declared = installed() if keyspaces is None else declared_at("--keyspaces", keyspaces)
    prefix = declared.prefix(key_prefix)
    deployment = declared.deployment({**flags, "key_prefix": key_prefix})
    servers = _servers(declared, deployment, flags)
    if needs_server and not servers:
        raise InvalidInput("--valkey-url", "no server is known", "name it, as --valkey-url valkey://HOST:6379")
    return Program(declared, prefix, deployment, servers)


def _servers(
    declared: Declarations, deployment: Deployment, flags: dict[str, str | None]
) -> tuple[ServerAddresses, ...]:
    def at(name: str) -> Address | None:
        text = flags.get(name)
        return None if text is None else Address.parse(text, field=f"--{name.replace('_', '-')}")

    keyspaces, found = declared.keyspaces, []
    has_caches = bool(keyspaces.caches or keyspaces.stores or declared.beside_caches)
    of_caches, of_sessions = deployment.caches, deployment.sessions
    if has_caches and of_caches is not None:
        both = keyspaces.sessions is not None and of_sessions in (None, of_caches)
        holds = Holds.BOTH if both else Holds.CACHES
        found.append(ServerAddresses(holds, Address.parse(of_caches), at("viewer_url"), at("admin_url")))
    if keyspaces.sessions is not None and of_sessions is not None and not (found and found[0].holds is Holds.BOTH):
        viewer, admin = at("session_viewer_url"), at("session_admin_url")
        found.append(ServerAddresses(Holds.SESSIONS, Address.parse(of_sessions), viewer, admin))
    return tuple(found)


def _installed_settings() -> Sequence[Setting]:
    try:
        return installed().settings
    except (GreenroomError, ImportError):  # a program that lacks a package: `--keyspaces` does without it
        return ()


# Printing ---------------------------------------------------------------------------------------------


def print_json(value: Any) -> None:
    """Print a value as JSON for people and programs."""
    # Not by msgspec: names of files need not be UTF-8, and it writes no text that is none.
    text = json.dumps(msgspec.to_builtins(value, str_keys=True), ensure_ascii=False, indent=2)
    click.echo(printable_json(text, lines=True))


def print_checked(checked: Sequence[Checked]) -> None:
    """Print checks, one line each where nothing was found."""
    for one in checked:
        if one.left_out is not None:
            click.echo(printable(f"  -  {one.name}: not looked at: {one.left_out}"))
        else:
            click.echo(printable(f" {'ok ' if not one.findings else ' ! '} {one.name}"))
        print_findings(one.findings)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print findings: what, why, and what mends it."""
    for one in findings:
        click.echo(printable(f"     {one.severity}: {one.what}"))
        click.echo(printable(f"       why: {one.why}"))
        click.echo(printable(f"       mend: {one.mend}"))


def summary(findings: Sequence[Finding]) -> str:
    """How many there are, in a sentence."""
    errors = sum(one.severity == "error" for one in findings)
    return f"{_number(errors, 'error')}, {_number(len(findings) - errors, 'warning')}."


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
