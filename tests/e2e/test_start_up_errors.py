"""What keeps `greenroom` from starting is told in one line that names the setting and the remedy."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from greenroom.cli import main
from tests.support.process_tree import ON_LINUX, servers
from tests.support.repository import ROOT
from tests.support.running_service import PROGRAM, command, environment, refusal
from tests.support.s3_server import BUCKET, S3Server

Refuse = Callable[..., str]


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Runs `greenroom` to its refusal in this process, which costs less, and returns the one line."""

    def refused(*arguments: object, env: dict[str, str] | None = None) -> str:
        monkeypatch.setattr(os, "environ", environment(env))
        monkeypatch.setattr(sys, "argv", ["greenroom", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code not in (0, None)
        printed = capsys.readouterr()
        assert printed.out == ""
        (line,) = printed.err.splitlines()
        return line

    return refused


@pytest.mark.parametrize(
    ("arguments", "named", "remedy"),
    [
        (["--port", "eighty"], "--port", "use a whole number from 0 to 65535"),
        (["--workers", "0"], "--workers", "use a whole number from 1 to 64"),
        (["--sample", "maybe"], "--sample", "use one of on, off"),
        (["--valkey-url", "http://localhost"], "--valkey-url", "write it like valkey://host:6379"),
        (["--database-url", "postgres://localhost"], "--database-url", "write it like sqlite:"),
        (["--recordings-url", "https://bucket"], "--recordings-url", "write a directory, or s3://BUCKET/PREFIX"),
        (["--recordings-url", "s3://bucket/\udcff"], "--recordings-url", "write a directory, or s3://BUCKET/PREFIX"),
        (["--recordings-url", "/dev/null/x"], "--recordings-url", "name a directory that this user may write to"),
        (["--editor-token", "short"], "--editor-token", "use 16 or more"),
        (["--key-prefix", "{a}"], "--key-prefix", "use"),
        (["--replica-reads", "on"], "--replica-reads", "give the caches the address of a cluster"),
        (["--replica-reads", "on", "--valkey-url", "valkey://a"], "--replica-reads", "give the caches the address"),
    ],
)
def test_a_setting_that_cannot_be(
    refuse: Refuse, tmp_path: Path, arguments: list[str], named: str, remedy: str
) -> None:
    line = refuse("serve", "--port", "0", "--data-dir", tmp_path / "data", *arguments)
    assert line.startswith(f"greenroom: {named}: ")
    assert remedy in line
    assert not (tmp_path / "data").exists(), "nothing is begun before all is known to be well"


@pytest.mark.parametrize(
    ("variable", "text", "remedy"),
    [
        ("GREENROOM_PORT", "eighty", "use a whole number"),
        ("GREENROOM_PROT", "80", "did you mean GREENROOM_PORT?"),
        ("GREENROOM_DATADIR", "/tmp", "did you mean GREENROOM_DATA_DIR?"),
        ("GREENROOM_REPLICA_READS", "on", "give the caches the address of a cluster"),
    ],
)
@pytest.mark.parametrize("arguments", [["serve"], ["load", "-"], ["definitions"]])
def test_a_variable_that_cannot_be(refuse: Refuse, arguments: list[str], variable: str, text: str, remedy: str) -> None:
    line = refuse(*arguments, env={variable: text})
    assert line.startswith(f"greenroom: {variable}: ")
    assert remedy in line


@pytest.mark.parametrize("line", [["serve", "--port", "0"], ["work"]], ids=["serve", "work"])
def test_credentials_that_the_store_refuses(tmp_path: Path, s3: S3Server, line: list[str]) -> None:
    wrong = s3.environ | {"AWS_SECRET_ACCESS_KEY": "wrong-secret"}
    where = "--data-dir", tmp_path / "data", "--recordings-url", f"s3://{BUCKET}/x"
    run = command(*line, *where, env=wrong)
    assert run.returncode == 1
    last = run.stderr.splitlines()[-1]
    assert last.startswith(f"greenroom: --recordings-url: s3://{BUCKET}/x refuses the credentials")
    assert "AWS_SECRET_ACCESS_KEY" in last
    assert "wrong-secret" not in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b", "\udcff"])
def test_a_host_that_is_not_here(tmp_path: Path, host: str) -> None:
    line = refusal(command("serve", "--port", "0", "--data-dir", tmp_path / "data", "--host", host))
    assert line.startswith("greenroom: --host: ")
    assert "name an address of this machine" in line
    assert not (tmp_path / "data").exists()


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal(command("serve", "--port", str(port), "--data-dir", tmp_path / "data"))
    assert line.startswith(f"greenroom: --port: port {port} is in use; ")
    assert line.endswith("choose another with --port or GREENROOM_PORT (0 = any free port)")


@pytest.mark.parametrize("where", ["line", "environment", "own", "linked"])
def test_make_serve_takes_a_port(tmp_path: Path, where: str) -> None:
    """Told of by its being taken: nothing is set up or opened by then. On another port it would end as well."""
    (tmp_path / "file").write_text("no directory")
    make = ["make", "-s", "-f", str(ROOT / "Makefile"), "-o", "setup", "serve", f"BIN={PROGRAM.parent}"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line, variables = {
            "line": ([f"PORT={port}"], {"GREENROOM_PORT": "0", "PORT": "0"}),
            "environment": ([], {"PORT": port}),
            "own": ([], {"GREENROOM_PORT": port, "PORT": "0"}),
            "linked": ([], {"GREENROOM_PORT": "tcp://10.0.0.1:8000", "PORT": port}),
        }[where]
        run = subprocess.run(
            [*make, *line],
            cwd=tmp_path,
            env=environment(variables | {"GREENROOM_DATA_DIR": "file"}),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert f"greenroom: --port: port {port} is in use; " in run.stderr


def test_make_serve_names_a_port_that_is_none(tmp_path: Path) -> None:
    make = ["make", "-s", "-f", str(ROOT / "Makefile"), "-o", "setup", "serve", f"BIN={PROGRAM.parent}", "PORT=1 2"]
    run = subprocess.run(make, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
    assert "greenroom: GREENROOM_PORT: '1 2' is not valid; use a whole number" in run.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_data_directory_that_cannot_be_one(tmp_path: Path, name: str, workers: str) -> None:
    (tmp_path / "file").write_text("mine")
    line = refusal(command("serve", "--port", "0", "--data-dir", tmp_path / name, "--workers", workers))
    assert line.startswith(f"greenroom: --data-dir: {tmp_path / name} cannot be used: ")
    assert line.endswith("name a directory that this user may write to")


@pytest.mark.parametrize("arguments", [["serve", "--port", "0"], ["serve", "--port", "0", "--workers", "2"], ["load"]])
@pytest.mark.parametrize("kind", ["no database", "a directory", "another program's"])
def test_a_database_that_is_none_of_ours(tmp_path: Path, arguments: list[str], kind: str) -> None:
    path = tmp_path / "record"
    if kind == "a directory":
        path.mkdir()
    elif kind == "no database":
        path.write_text("Dear diary, " * 200)
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE diary (entry TEXT)")
    before = path.read_bytes() if path.is_file() else None
    files = ["-"] if arguments == ["load"] else []
    flags = ["--data-dir", str(tmp_path / "data"), "--database-url", f"sqlite:{path}"]
    line = refusal(command(*arguments, *flags, *files))
    assert line.startswith(f"greenroom: --database-url: {path} cannot be used: ")
    assert line.endswith("choose a Greenroom database, or a path that does not exist yet")
    assert before == (path.read_bytes() if path.is_file() else None)


# The main process looks first, so that this takes what fails between its look and the workers' own.
LATER = """
import sys
from importlib import import_module
from greenroom.cli import main

async def look(settings):
    pass

import_module("greenroom_platform.cli.serve")._prepare = look
main()
"""


@ON_LINUX
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_worker_that_cannot_start_says_so_and_ends_the_service(tmp_path: Path, workers: str) -> None:
    (tmp_path / "record").write_text("Dear diary, " * 200)
    flags = ["--port", "0", "--data-dir", str(tmp_path), "--database-url", f"sqlite:{tmp_path / 'record'}"]
    line = [sys.executable, "-c", LATER, "serve", "--workers", workers, *flags]
    run = subprocess.run(line, env=environment(), capture_output=True, text=True, timeout=90)
    assert run.returncode == 3
    assert "cannot start: database: " in run.stderr
    assert "Traceback" not in run.stderr
    told = [text for text in run.stderr.splitlines() if "cannot start" in text]
    assert 1 <= len(told) <= int(workers)
    assert not servers(tmp_path)
