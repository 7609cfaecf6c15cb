"""Arguments that are no text: a byte that is no UTF-8 may be in the name of a file, and is refused elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from greenroom.cli.group import group

ODD = os.fsdecode(b"odd-\xff")
"""As Python gives an argument."""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(group, list(arguments), catch_exceptions=False)


@pytest.mark.parametrize("more", [(), ("--json",), ("--offline",)])
def test_a_key_that_is_no_utf_8_is_refused_in_one_line(more: tuple[str, ...]) -> None:
    result = run("explain", ODD, "--valkey-url", "valkey://127.0.0.1:1", *more)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "greenroom: KEY: is not UTF-8; give another: no keyspace has such a key\n"


@pytest.mark.parametrize("address", [f"valkey://{ODD}:1", f"valkey://{ODD}:p@127.0.0.1:1", "valkey://a..b:1"])
@pytest.mark.parametrize("command", ["audit", "doctor", "drop", "explain", "load", "size", "status"])
def test_an_address_that_is_none_is_refused_in_one_line(tmp_path: Path, command: str, address: str) -> None:
    subject = {"drop": ["topic"], "explain": ["cache:topic:x"], "load": [os.devnull]}.get(command, [])
    result = run(command, *subject, "--valkey-url", address, "--data-dir", str(tmp_path / "data"))
    assert result.exit_code == (1 if command in ("drop", "load") else 2)
    (line,) = result.stderr.splitlines()
    assert line.startswith("greenroom: --valkey-url: it is not a URL")


def test_names_of_files_need_not_be_utf_8(tmp_path: Path) -> None:
    data, lines, printed = tmp_path / ODD, tmp_path / f"{ODD}.ndjson", tmp_path / f"{ODD}.json"
    lines.write_text('{"topic_id": "a", "display_name": "A", "description": "", "keywords": []}\nbad\n')
    result = run("load", str(lines), "--data-dir", str(data))
    assert "Loaded 1 topic and 0 snippets" in result.stderr
    assert "odd-\\udcff.ndjson:2" in result.stderr
    for command in (["audit"], ["doctor"], ["explain", "cache:topic:x"], ["size"], ["status", "--no-service"]):
        for more in ((), ("--json",)):
            looked = run(*command, "--data-dir", str(data), *more)
            assert looked.exit_code == 2
            assert "Traceback" not in looked.output
    printed.write_text(run("definitions", "--json-schema").stdout)
    assert run("definitions", "--check", str(printed)).exit_code == 0
    assert run("definitions", "--check", f"{printed}.away").exit_code == 1
