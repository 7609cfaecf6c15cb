"""`greenroom acl`: who may do what on a server, as rules that it reads."""

from __future__ import annotations

import sys

import rich_click as click

from greenroom.acl import PLACEHOLDER, Holds, Role, check_user, hashed, rules
from greenroom.cli.lookup import declared_at
from greenroom.cli.options import installed, key_prefix_option
from greenroom.errors import InvalidInput

_FORMS = {"setuser": "ACL SETUSER {user} reset on {password} {rules}", "file": "user {user} on {password} {rules}"}


@click.command()
@click.argument("roles", nargs=-1, metavar="[ROLE]...", type=click.Choice([role.value for role in Role]))
@click.option(
    "--keyspaces",
    metavar="MODULE:NAME",
    help="A room, a Keyspaces, or a list of keyspaces, as shop.keys:SHOP. Default: those of the installed program.",
)
@click.option(
    "--holds",
    type=click.Choice([one.value for one in Holds]),
    default="both",
    show_default=True,
    help="What the server holds.",
)
@click.option(
    "--form",
    type=click.Choice(list(_FORMS)),
    default="setuser",
    show_default=True,
    help="For valkey-cli, or for the server's aclfile.",
)
@click.option("--user", metavar="NAME", help="The user's name, with one role. Default: greenroom-ROLE.")
@click.option("--password-stdin", is_flag=True, help="Take one role's password, one line, and print its SHA-256.")
@key_prefix_option
def acl(
    roles: tuple[str, ...],
    keyspaces: str | None,
    holds: str,
    form: str,
    user: str | None,
    password_stdin: bool,
    key_prefix: str | None,
) -> None:
    """Print ACL rules for the roles service, worker and viewer, or for those named.

    Without a password the rules have a placeholder, which no server accepts.
    """
    declared = installed() if keyspaces is None else declared_at("--keyspaces", keyspaces)
    prefix = declared.prefix(key_prefix)
    wanted = [Role(role) for role in roles] or list(Role)
    if len(wanted) != 1:
        for given, option in ((user, "--user"), (password_stdin, "--password-stdin")):
            if given:
                raise InvalidInput(option, "is for one role", "name it, as `greenroom acl service`")
    password = hashed(sys.stdin.readline().rstrip("\r\n")) if password_stdin else PLACEHOLDER
    for role in wanted:
        allowed = rules(role, declared, prefix=prefix, holds=Holds(holds))
        if allowed is None:
            click.echo(f"greenroom: a {role.value} needs no user there", err=True)
            continue
        name = check_user(user if user is not None else f"greenroom-{role.value}")
        click.echo(_FORMS[form].format(user=name, password=password, rules=allowed.text()))
