"""`greenroom definitions`: every keyspace, as Markdown, JSON Schemas or TypeScript, and what has changed in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import rich_click as click

from greenroom.cli.lookup import declared_at
from greenroom.cli.options import installed, key_prefix_option
from greenroom.errors import InvalidInput
from greenroom.keyspace.json_schema import ABOUT, json_schemas
from greenroom.keyspace.registry import Keyspaces
from greenroom.keyspace.schema_changes import changes
from greenroom.keyspace.typescript import typescript
from greenroom.printable import printable

BREAKING = 2
"""The exit status where something has changed that old and new processes do not read alike."""


class _Keyspace(msgspec.Struct):
    kind: str
    key: str
    parts: dict[str, str]


class _Group(msgspec.Struct):
    keyspaces: list[str]


class _About(msgspec.Struct):
    keyspaces: dict[str, _Keyspace]
    groups: dict[str, _Group]


class _Printed(msgspec.Struct):
    """What a file must have to be compared with."""

    about: _About = msgspec.field(name=ABOUT)
    properties: dict[str, dict[str, Any]]
    defs: dict[str, dict[str, Any]] = msgspec.field(name="$defs", default_factory=dict)


@click.command()
@click.argument("declared_in", required=False, metavar="[MODULE:NAME]")
@click.option("--markdown", "form", flag_value="markdown", default=True, help="Print Markdown, which is the default.")
@click.option("--json-schema", "form", flag_value="json", help="Print JSON Schemas.")
@click.option("--typescript", "form", flag_value="typescript", help="Print types, key builders and invalidation.")
@click.option(
    "--check",
    metavar="FILE",
    help="Compare with a file that --json-schema has printed before; exit status 2 where a change is breaking. "
    "Default: print, and compare with nothing.",
)
@key_prefix_option
@click.pass_context
def definitions(
    context: click.Context, declared_in: str | None, form: str, check: str | None, key_prefix: str | None
) -> None:
    """Print every keyspace: formats, values, lifetimes, and what writers in other languages must know.

    MODULE:NAME is a room, a `Keyspaces`, or a list of keyspaces, as `shop.keys:SHOP`; the module is looked for in this
    directory first. Without it: the keyspaces of the installed program.
    """
    declared = installed() if declared_in is None else declared_at("MODULE:NAME", declared_in)
    keyspaces = declared.keyspaces.prefixed(declared.prefix(key_prefix))
    if check is not None:
        context.exit(_check(Path(check), keyspaces))
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(json_schemas(keyspaces)), indent=2))
    elif form == "typescript":
        click.echo(typescript(keyspaces), nl=False)
    else:
        click.echo(declared.markdown(keyspaces), nl=False)


def _check(file: Path, keyspaces: Keyspaces) -> int:
    breaking = 0
    # As it would be read again: a default that is a tuple here is a list there.
    now = msgspec.json.decode(msgspec.json.encode(json_schemas(keyspaces)))
    for change in changes(_read(file), now):
        breaking += change.breaking
        click.echo(printable(f"{'breaking: ' if change.breaking else ''}{change}"))
    if breaking:
        many = f"{breaking} breaking change{'s' if breaking > 1 else ''}"
        click.echo(printable(f"greenroom: {many} since {file}"), err=True)
    return BREAKING if breaking else 0


def _read(file: Path) -> dict[str, Any]:
    remedy = "name a file that `greenroom definitions MODULE:NAME --json-schema` has printed"
    try:
        document = msgspec.json.decode(file.read_bytes())
    except OSError as error:
        raise InvalidInput("--check", f"{file} cannot be read: {error.strerror}", remedy) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput("--check", f"{file} is not JSON: {error}", remedy) from None
    if not isinstance(document, dict) or not {"properties", ABOUT} <= document.keys():
        raise InvalidInput("--check", f"{file} has no {ABOUT}", remedy)
    try:
        msgspec.convert(document, _Printed)
    except msgspec.ValidationError as error:
        raise InvalidInput("--check", f"{file} is not as it was printed: {error}", remedy) from None
    return document
