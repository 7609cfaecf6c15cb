"""pyright in its strict mode, beside mypy: it accepts the examples, and a cached function's parts are its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.node_packages import node_program
from tests.support.repository import ROOT

PROGRAM = '''"""Calls of a cached function."""

from datetime import timedelta

from greenroom import Greenroom, Keyspace, Loaded
from typing_extensions import assert_type

EPISODE = Keyspace("episode:{show_id}:{number}", str, parts={"number": int}, ttl=timedelta(minutes=30))
WRONG = Keyspace("other:{show_id}", int, ttl=timedelta(minutes=30))
room = Greenroom(sessions=False)


@room.cached(EPISODE, groups=["episodes:{show_id}"])
async def episode(show_id: str, number: int = 1) -> str | None: ...


@room.cached(Keyspace("plain:{show_id}", int, ttl=timedelta(minutes=30)))
def plain(show_id: str) -> int | Loaded[int]:
    return len(show_id)


async def right() -> None:
    assert_type(await episode("s1", 7), str | None)
    assert_type(await episode(show_id="s1"), str | None)
    assert_type((await episode.get_result("s1", number=7)).value, str | None)
    assert_type(await episode.get_many([("s1", 7), ("s1", 8)]), list[str | None])
    assert_type(episode.peek("s1", 7), str | None)
    assert_type(await plain("s1"), int | None)
    async with room.changing(episode.of("s1", 7), episode.group("s1")):
        await episode.invalidate("s1", 7)


async def wrong() -> None:
'''
WRONG = [
    "await episode()",
    'await episode("s1", nmuber=7)',
    'await episode(show="s1")',
    'await episode("s1", "7")',
    'await episode("s1", 7, 8)',
    'await episode.get("s1", nmuber=7)',
    'await episode.get_result("s1", nmuber=7)',
    "await episode.invalidate()",
    'episode.peek("s1", "7")',
    "episode.of(7)",
    "await plain(1)",
    "len(await plain('s1') or 0)",
    'room.cached(WRONG)(episode.load)("s1", nmuber=7)',
    "room.cached(WRONG, grups=[])",
    "room.cached(WRONG, near_for=30)",
]


def checked(directory: Path, include: list[str]) -> list[dict[str, Any]]:
    """What pyright says of some files, in its strict mode."""
    settings: dict[str, Any] = {"include": include, "typeCheckingMode": "strict", "pythonVersion": "3.11"}
    settings["extraPaths"] = [str(ROOT / "src"), str(ROOT / "examples")]
    (directory / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [node_program("pyright"), "--outputjson", "--pythonpath", sys.executable, "-p", str(directory)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=280)
    told: list[dict[str, Any]] = json.loads(run.stdout)["generalDiagnostics"]
    return told


def lines_of(told: list[dict[str, Any]]) -> set[int]:
    """The lines that are errors, counted from 1."""
    return {one["range"]["start"]["line"] + 1 for one in told}


@pytest.mark.timeout(300)
def test_pyright_strict_accepts_the_examples(tmp_path: Path) -> None:
    told = checked(tmp_path, [str(ROOT / "examples")])
    assert [f"{one['file']}:{one['range']['start']['line'] + 1}: {one['message']}" for one in told] == []


@pytest.mark.timeout(300)
def test_pyright_flags_a_misspelt_or_missing_part_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "calls.py").write_text(PROGRAM + "\n".join(f"    {line}" for line in WRONG))
    told = checked(tmp_path, [str(tmp_path)])
    first = len(PROGRAM.splitlines()) + 1
    assert lines_of(told) == set(range(first, first + len(WRONG))), [
        (one["range"]["start"]["line"] + 1, one["message"]) for one in told
    ]
