"""Blocks of pages that are made of the code: `<!-- made: settings -->` in a page stands for one.

They are never behind the code: nobody writes them down.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from inspect import cleandoc
from typing import Any, cast

import rich_click as click

from greenroom.cli.group import group
from greenroom.integrations import prometheus
from greenroom_platform.http import description, metrics
from greenroom_platform.http.resources import DRAFTS, resources
from greenroom_platform.http.settings import ENV_PREFIX, Settings, flag_name

_MARK = re.compile(r"^<!-- made: ([\w-]+) -->$", re.MULTILINE)
_OPTION_DEFAULT = re.compile(r" ?Default: (.+?)\.?$")
_HTTP_METHODS = ("get", "post", "put", "patch", "delete")


def filled(markdown: str) -> str:
    """The page's text with each block in its place.

    Raises:
        KeyError: for a block that nothing makes.
    """
    return _MARK.sub(lambda mark: MAKERS[mark[1]](), markdown)


def settings() -> str:
    """Every setting of the service: variable, flag, form, default, meaning."""
    rows = []
    for one in fields(Settings):
        text = str(one.metadata["help"])
        default = _OPTION_DEFAULT.search(text)
        rows.append(
            (
                f"`{ENV_PREFIX}{one.name.upper()}`",
                f"`{flag_name(one.name)}`",
                f"`{one.metadata['form']}`",
                default[1] if default else "",
                _OPTION_DEFAULT.sub("", text),
            )
        )
    return _table(("variable", "flag", "form", "default", "meaning"), rows)


def room_metrics() -> str:
    """What `greenroom.integrations.prometheus` shows of a room."""
    return _families(
        {name: (one.help, one.labels) for name, one in prometheus.COUNTS.items()},
        {name: (one.help, one.labels) for name, one in prometheus.HISTOGRAMS.items()},
    )


def service_metrics() -> str:
    """What `/metrics` of the service has beside that."""
    counts = {name: one for name, one in metrics._COUNTS.items() if name not in prometheus.COUNTS}
    histograms = {name: one for name, one in metrics._HISTOGRAMS.items() if name not in prometheus.HISTOGRAMS}
    return _families(counts, histograms)


def commands() -> str:
    """Each command with what `-h` says of it."""
    context = click.Context(group)
    parts = []
    for name in sorted(group.list_commands(context)):
        command = group.get_command(context, name)
        assert command is not None
        parts.append(_command(name, command))
    return "\n".join(parts)


def calls() -> str:
    """Each call of the service, from the description that it serves at `/docs/openapi.json`."""
    described = _description()
    by_tag: dict[str, list[str]] = {}
    for path, operations in described["paths"].items():
        for method in _HTTP_METHODS:
            if (one := operations.get(method)) is not None:
                tag = next(iter(one.get("tags", ())), "Other")
                by_tag.setdefault(tag, []).append(_call(method, path, one, described))
    return "\n".join(f"## {tag}\n\n{''.join(found)}" for tag, found in sorted(by_tag.items()))


MAKERS: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "room-metrics": room_metrics,
    "service-metrics": service_metrics,
    "commands": commands,
    "calls": calls,
}
"""What makes each block."""


def _description() -> dict[str, Any]:
    """The description that the service serves."""
    return description.of(resources(), DRAFTS)


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"greenroom {name}")
    help_ = cleandoc(command.help or "").replace("\b\n", "")
    usage = " ".join(command.collect_usage_pieces(context))
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            rows.append((f"`{record[0]}`", record[1]))
    synopsis = f"```text\ngreenroom {name} {usage}\n```"
    return f"## greenroom {name}\n\n{synopsis}\n\n{help_}\n\n{_table(('option', 'meaning'), rows)}\n"


def _call(method: str, path: str, one: Mapping[str, Any], described: Mapping[str, Any]) -> str:
    parts = [f"### {method.upper()} {path}\n", f"**{one.get('summary', '')}.** {one.get('description', '')}\n"]
    if security := sorted({name for way in one.get("security", ()) for name in way}):
        schemes = described["components"]["securitySchemes"]
        parts.append(
            "Takes: " + "; ".join(schemes[name]["description"].rstrip(".").lower() for name in security) + ".\n"
        )
    rows = [
        (
            f"`{parameter['name']}`",
            parameter["in"],
            _type(parameter.get("schema", {})),
            "yes" if parameter.get("required") else "",
        )
        for parameter in (_whole(one_, described) for one_ in one.get("parameters", ()))
    ]
    if rows:
        parts.append(_table(("parameter", "in", "type", "required"), rows))
    for media_type, content in one.get("requestBody", {}).get("content", {}).items():
        parts.append(f"Body, `{media_type}`:\n\n{_members(content.get('schema', {}), described)}")
    answers = []
    for status, answer in one.get("responses", {}).items():
        whole = _whole(answer, described)
        types = ", ".join(f"`{media}`" for media in whole.get("content", {}))
        answers.append((f"`{status}`", whole.get("description", "").split("\n")[0], types))
    parts.append(_table(("answer", "meaning", "media type"), answers))
    return "\n".join(parts) + "\n"


def _members(schema: Mapping[str, Any], described: Mapping[str, Any]) -> str:
    whole = _whole(schema, described)
    required = whole.get("required", ())
    rows = [
        (f"`{name}`", _type(_whole(member, described)), "yes" if name in required else "")
        for name, member in whole.get("properties", {}).items()
    ]
    return _table(("member", "type", "required"), rows) if rows else "JSON.\n"


def _whole(described_or_reference: Mapping[str, Any], described: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = described_or_reference.get("$ref")
    if reference is None:
        return described_or_reference
    found: Any = described
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return cast("Mapping[str, Any]", found)


def _type(schema: Mapping[str, Any]) -> str:
    kinds = schema.get("type") or [
        one.get("type", "object") for one in (*schema.get("oneOf", ()), *schema.get("anyOf", ()))
    ]
    text = " or ".join(dict.fromkeys([kinds] if isinstance(kinds, str) else kinds)) or "object"
    bounds = [f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema]
    return ", ".join([text, *bounds])


_BOUNDS = {"minimum": "from", "maximum": "to", "minLength": "from", "maxLength": "to", "maxItems": "at most"}


def _families(counts: Mapping[str, tuple[str, list[str]]], histograms: Mapping[str, tuple[str, list[str]]]) -> str:
    rows = [(f"`{name}_total`", "counter", _labels(labels), text) for name, (text, labels) in counts.items()]
    rows += [(f"`{name}`", "histogram", _labels(labels), text) for name, (text, labels) in histograms.items()]
    return _table(("metric", "kind", "labels", "meaning"), rows)


def _labels(labels: Iterable[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """One line; a bar outside of a code span would begin the next column."""
    parts = " ".join(text.split()).split("`")
    return "`".join(part if number % 2 else part.replace("|", "&#124;") for number, part in enumerate(parts))
