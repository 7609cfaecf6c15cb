"""Text of others as the commands that look print it: nothing in it reaches the terminal raw, and JSON has it whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from greenroom.cli.group import group
from greenroom.cli.operators import print_json
from greenroom.keyspace.json_schema import ABOUT
from greenroom.printable import printable
from tests.integration.cli.test_status_service import WELL, answering, ok
from tests.support.operated import Operated

EVIL = "\x1b[2J\x7f\x9b2J\u202e\u2028"


def printed(*arguments: str) -> str:
    """What a command prints: lines, and no character that a terminal would obey."""
    result = CliRunner().invoke(group, list(arguments), catch_exceptions=False)
    assert printable(result.output, lines=True) == result.output
    return result.stdout


def texts_of(value: Any) -> Iterator[str]:
    """Every text in a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from texts_of(one)


@pytest.mark.parametrize("kind", ["nobody", "stray"])
def test_keys_of_others_are_printed_harmless_and_are_whole_in_json(operated: Operated, kind: str) -> None:
    key = f"other{EVIL}:a" if kind == "nobody" else f"cache:topic:a{EVIL}"
    operated.raw("SET", key, "x")
    operated.caught_up()
    viewer = ("--valkey-url", operated.viewer, "--rate", "10000")
    asked = [("size", *viewer), ("audit", *viewer), ("explain", key, *viewer[:2])]
    for arguments in asked:
        printed(*arguments)
    size, audit, explain = [json.loads(printed(*arguments, "--json")) for arguments in asked]
    assert explain["key"] == key
    assert any(EVIL in text for text in texts_of(size if kind == "nobody" else audit))


def test_labels_of_a_service_are_printed_harmless_and_whole(operated: Operated) -> None:
    errors = f'greenroom_cache_errors_total{{keyspace="topic",kind="{EVIL[:-1]}"}} 2\n'
    with answering(ok(WELL), ok(errors.encode()), ok(WELL), ok(errors.encode())) as (url, _):
        arguments = ("status", "--valkey-url", operated.viewer, "--service", url)
        assert f"2 {printable(EVIL[:-1])}" in printed(*arguments)
        told = json.loads(printed(*arguments, "--json"))
    assert [one["errors"] for one in told["keyspaces"] if one["errors"]] == [{EVIL[:-1]: 2}]


def test_changes_since_a_file_are_printed_harmless(tmp_path: Path) -> None:
    document = json.loads(printed("definitions", "--json-schema"))
    keyspaces = document[ABOUT]["keyspaces"]
    keyspaces[EVIL] = keyspaces["topic"]
    file = tmp_path / f"{EVIL}.json"
    file.write_text(json.dumps(document))
    assert printable(EVIL) in printed("definitions", "--check", str(file))


def test_json_for_people_is_as_msgspec_would_write_it(capsys: pytest.CaptureFixture[str]) -> None:
    value: dict[str, object] = {"é": [1, 0.5, None, True, []], "b": {"c": {}}}
    print_json(value)
    assert capsys.readouterr().out == msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
