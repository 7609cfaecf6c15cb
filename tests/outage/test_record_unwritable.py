"""A record that can be read and not written: said at the start, by the health check and by each refusal; it heals."""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import FileIO
from pathlib import Path

import pytest

from greenroom.errors import RecordUnavailable
from greenroom_platform.domain.records import TopicDraft
from greenroom_platform.storage import SqliteRecords
from greenroom_platform.testing.records_changes import NOON
from tests.support.patience import wait_for
from tests.support.problem_checks import problem
from tests.support.real_servers import Server
from tests.support.running_service import API, PROGRAM, TOKEN, Service, command, environment

OTHER = 65534
# As any user: root without the right to write what belongs to others.
AS_ANY_USER = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--")
TOPIC = {"display_name": "Tides", "description": "", "keywords": []}
READ_ONLY = "attempt to write a readonly database"
FULL = "database or disk is full"


def _works(*command: str) -> bool:
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0


needs_another_user = pytest.mark.skipif(
    os.geteuid() != 0 or not _works(*AS_ANY_USER, "true"), reason="needs root, and setpriv to give its rights away"
)
needs_mounts = pytest.mark.skipif(
    not _works("unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"), reason="needs the right to mount"
)


def _made(directory: Path) -> Path:
    """A record that a service has left in a directory, with a reader, so that its companions stay."""
    path = directory / "record.sqlite3"
    line = (
        '{"topic_id":"sea","display_name":"Sea","description":"","keywords":[],'
        '"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z"}\n'
    )
    places = "--data-dir", directory / "data", "--database-url", f"sqlite:{path}"
    run = command("load", *places, "-", stdin=line)
    assert run.returncode == 0, run.stderr
    return path


@contextmanager
def _served(directory: Path, path: Path, server: Server, *under: str) -> Iterator[Service]:
    env = {"GREENROOM_EDITOR_TOKEN": TOKEN, "GREENROOM_VALKEY_URL": server.address}
    service = Service(directory, "--database-url", f"sqlite:{path}", "--work", "off", env=env, under=under)
    try:
        yield service.start()
    finally:
        service.kill()


def _grows(file: FileIO) -> bool:
    """Write a page; whether there was room for it."""
    try:
        return file.write(b"x" * 4096) == 4096
    except OSError:
        return False


def _put(service: Service) -> int:
    answer = service.client.put(f"{API}/topics/tides", json=TOPIC, headers=service.editor)
    return answer.status_code


def _refuses(service: Service, said: str) -> None:
    answer = service.client.put(f"{API}/topics/tides", json=TOPIC, headers=service.editor)
    detail = problem(answer, 503, "unavailable")["detail"]
    assert said in detail
    assert "record.sqlite3" not in answer.text
    ready = service.client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["database"] == f"cannot be written: {said}"
    assert service.client.get(f"{API}/topics/sea").status_code == 200


def _heals(service: Service) -> None:
    wait_for(lambda: service.client.get("/health/ready").json()["status"] == "ok", 30)
    assert _put(service) in (200, 201)


# The file of another ----------------------------------------------------------------------------------


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[Path]:
    """A record of another owner, as `sudo greenroom load` leaves it; somebody has it open."""
    path = _made(tmp_path)
    with closing(sqlite3.connect(path)) as held:
        # As a killed process leaves it: a change that is still to be sent, and cannot be struck off.
        held.execute('INSERT INTO outbox (committed, change) VALUES (0, \'{"change_id": 0, "topics": ["sea"]}\')')
        held.commit()
        for one in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            os.chown(one, OTHER, OTHER)
            one.chmod(0o644)
        yield path


@needs_another_user
def test_a_record_of_another_owner_is_said_at_the_start_and_heals(
    tmp_path: Path, foreign: Path, valkey: Server
) -> None:
    with _served(tmp_path, foreign, valkey, *AS_ANY_USER) as service:
        (line,) = [line for line in service.output().splitlines() if "cannot be written" in line]
        assert f"{foreign} cannot be written: {READ_ONLY}; let this user write to the file" in line
        _refuses(service, READ_ONLY)
        for one in foreign.parent.glob("record.sqlite3*"):
            os.chown(one, 0, 0)
        _heals(service)


@needs_another_user
def test_a_load_into_a_record_of_another_owner_is_refused_in_a_line(tmp_path: Path, foreign: Path) -> None:
    flags = ["--data-dir", str(tmp_path / "data"), "--database-url", f"sqlite:{foreign}"]
    run = subprocess.run(
        [*AS_ANY_USER, str(PROGRAM), "load", *flags, "-"],
        input=b"",
        env=environment(),
        capture_output=True,
        check=False,
    )
    line = run.stderr.decode().splitlines()[-1]
    assert run.returncode == 1
    assert line.startswith(f"greenroom: the record {foreign} cannot be written: {READ_ONLY}; let this user")


@needs_another_user
def test_a_directory_that_cannot_be_written_is_refused_in_a_line(tmp_path: Path) -> None:
    """SQLite needs two files beside a record, even to read it."""
    home = tmp_path / "home"
    home.mkdir()
    path = _made(home)
    os.chown(home, OTHER, OTHER)
    home.chmod(0o755)
    flags = ["--port", "0", "--data-dir", str(tmp_path / "data"), "--database-url", f"sqlite:{path}"]
    run = subprocess.run(
        [*AS_ANY_USER, str(PROGRAM), "serve", *flags], env=environment(), capture_output=True, check=False, timeout=60
    )
    (line,) = run.stderr.decode().splitlines()
    assert run.returncode == 1
    assert line.startswith(f"greenroom: --database-url: {path} cannot be used: ")
    assert line.endswith("let this user write to the file, to its -wal and -shm files and to their directory")


# The disk ---------------------------------------------------------------------------------------------


@needs_mounts
def test_a_read_only_file_system_is_said_in_a_line(tmp_path: Path, valkey: Server) -> None:
    home = tmp_path / "home"
    home.mkdir()
    path = _made(home)
    mount = f"mount --bind {shlex.quote(str(home))} {shlex.quote(str(home))} && mount -o remount,ro,bind {home}"
    flags = ["--port", "0", "--data-dir", str(tmp_path / "data"), "--database-url", f"sqlite:{path}"]
    run = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", str(PROGRAM), "serve", *flags],
        env=environment({"GREENROOM_VALKEY_URL": valkey.address}),
        capture_output=True,
        check=False,
        timeout=60,
    )
    (line,) = run.stderr.decode().splitlines()
    assert run.returncode == 1
    assert line.startswith(f"greenroom: --database-url: {path} cannot be used: ")
    assert "let this user write to the file" in line


@needs_mounts
def test_a_disk_that_fills_up_is_told_and_heals_when_it_has_room(tmp_path: Path, valkey: Server) -> None:
    home = tmp_path / "home"
    home.mkdir()
    path = _made(home)
    copy = f"cp {path} /tmp/record.copy.$$ && mount -t tmpfs -o size=2m none {home} && mv /tmp/record.copy.$$ {path}"
    under = ("unshare", "-m", "sh", "-c", f'{copy} && exec "$@"', "sh")
    with _served(tmp_path, path, valkey, *under) as service:
        assert service.client.get("/health/ready").json() == {"status": "ok", "engine": "ok", "database": "ok"}
        # Its own view of the file system; a hole in a file would take no room.
        filler = Path(f"/proc/{service.process.pid}/root{home}/filler")
        with filler.open("wb", buffering=0) as file:
            wait_for(lambda: not _grows(file), 30)
        wait_for(lambda: _put(service) == 503, 30)
        _refuses(service, FULL)
        filler.unlink()
        _heals(service)


# In one process ------------------------------------------------------------------------------------------


async def test_a_record_in_no_trouble_is_not_written_by_a_health_check(tmp_path: Path) -> None:
    records = await SqliteRecords.open(tmp_path / "record")
    try:
        before = (tmp_path / "record-wal").stat().st_size if (tmp_path / "record-wal").exists() else 0
        assert await records.check_writes() is None
        assert ((tmp_path / "record-wal").stat().st_size if (tmp_path / "record-wal").exists() else 0) == before
    finally:
        await records.close()


async def test_an_error_that_quotes_a_value_is_not_told_to_strangers(tmp_path: Path) -> None:
    records = await SqliteRecords.open(tmp_path / "record")
    with closing(sqlite3.connect(tmp_path / "record")) as connection:
        connection.execute("DROP TABLE outbox")
    try:
        with pytest.raises(RecordUnavailable) as caught:
            await records.put_topic("sea", TopicDraft(display_name="Sea", description="", keywords=()), NOON)
        assert "outbox" in str(caught.value)
        assert caught.value.answer == ""
        assert await records.check_writes() is None
    finally:
        await records.close()
