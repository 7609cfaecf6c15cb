"""What Greenroom makes is for its user alone, wherever it lies; what others may use is named at the start."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenroom import Greenroom
from greenroom.private_files import make_directory, make_file, open_to_others
from tests.support.running_service import Serve, command

NOON = "2026-01-02T12:00:00Z"
TOPIC = {"topic_id": "night", "display_name": "Night", "description": "", "keywords": [], "created_at": NOON}


@pytest.fixture(autouse=True)
def _generous() -> Iterator[None]:
    """A umask that would let everybody read, and an open directory around the test's."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(top: Path) -> dict[str, str]:
    """The modes of everything below that is not as private as it should be."""
    found = {}
    for path in sorted(top.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & 0o077 and not path.is_symlink():
            found[str(path.relative_to(top))] = oct(mode)
    return found


def test_load_makes_a_record_that_nobody_else_can_read(tmp_path: Path) -> None:
    lines = tmp_path.parent / "lines.ndjson"
    lines.write_text(json.dumps(TOPIC | {"updated_at": NOON}))
    record = tmp_path / "far" / "away" / "record.sqlite3"
    run = command("load", "--data-dir", tmp_path / "deep" / "data", "--database-url", f"sqlite:{record}", lines)
    assert run.returncode == 0, run.stderr
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert modes(tmp_path) == {}


async def test_a_room_of_the_library_makes_nothing_that_others_may_use(tmp_path: Path) -> None:
    async with Greenroom(data_dir=tmp_path / "deep" / "data"):
        assert {path.name for path in (tmp_path / "deep").iterdir()} == {"data"}
        assert modes(tmp_path) == {}


def test_serve_makes_nothing_that_others_may_use(serve: Serve, tmp_path: Path) -> None:
    home = tmp_path / "home"
    service = serve("--database-url", f"sqlite:{tmp_path / 'records' / 'record.sqlite3'}", home="home")
    assert {path.name for path in (tmp_path / "records").iterdir()} >= {"record.sqlite3", "record.sqlite3-wal"}
    assert modes(tmp_path / "records") == {}
    assert modes(home / "data") == {}
    assert "prevents that" not in service.output()


def test_a_directory_that_others_may_use_is_warned_of_at_the_start(serve: Serve, tmp_path: Path) -> None:
    data, records = tmp_path / "data", tmp_path / "records"
    data.mkdir(mode=0o755)
    records.mkdir(mode=0o750)
    (records / "record.sqlite3").touch(mode=0o644)
    output = serve("--database-url", f"sqlite:{records / 'record.sqlite3'}").output()
    for path in (data, records, records / "record.sqlite3"):
        assert output.count(f"chmod go= {path}`") == 1


def test_a_directory_of_both_data_and_record_is_warned_of_once(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    assert serve().output().count("prevents that") == 1


def test_what_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open" / "file").touch(mode=0o644)
    make_directory(tmp_path / "open" / "a" / "b")
    make_directory(tmp_path / "open")
    make_file(tmp_path / "open" / "file")
    make_file(tmp_path / "open" / "a" / "new")
    assert modes(tmp_path) == {"open": "0o755", "open/file": "0o644"}
    paths = [tmp_path / "open", tmp_path / "open" / "a", tmp_path / "nothing"]
    assert list(open_to_others(paths)) == [tmp_path / "open"]
