"""`greenroom definitions`: every keyspace, as Markdown or as JSON Schemas."""

from __future__ import annotations

import msgspec
import rich_click as click

from greenroom_platform.cli.options import read_settings, settings_options
from greenroom_platform.definitions_document import definitions_markdown, definitions_schemas


@click.command()
@click.option("--json-schema", is_flag=True, help="Print JSON Schemas instead of Markdown.")
@settings_options(["key_prefix"])
def definitions(json_schema: bool, **flags: str | None) -> None:
    """Print every keyspace: formats, values, lifetimes, and what writers in other languages must know."""
    prefix = read_settings(flags).key_prefix
    if json_schema:
        schemas = msgspec.json.encode(definitions_schemas(prefix))
        click.echo(msgspec.json.format(schemas, indent=2))
    else:
        click.echo(definitions_markdown(prefix), nl=False)
