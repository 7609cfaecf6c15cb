"""Celery and RQ as their users run them: a worker process with a real broker, and a program that follows its tasks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.patience import wait_for
from tests.support.real_servers import Server
from tests.support.repository import ROOT

STRICT = (
    *("-X", "dev", "-W", "error"),
    *("-W", "ignore:You're running the worker"),  # as root, as tests may
    *("-W", "ignore:This process:DeprecationWarning"),  # of a fork beside threads
)
CELERY = ["celery", "-A", "jobs_celery", "worker", "--pool", "prefork", "--concurrency", "1", "--loglevel", "INFO"]
RQ = ["rq", "worker", "--worker-class", "greenroom.integrations.rq.RoomWorker"]


@contextmanager
def worker(command: list[str], directory: Path, environment: dict[str, str], ready: str) -> Iterator[Path]:
    """A worker that takes tasks; the path of its log. It must end by itself when it is told to."""
    log = directory / "log"
    program = Path(sys.executable).parent / command[0]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *STRICT, program, *command[1:]],
            cwd=directory,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(lambda: ready in log.read_text() or process.poll() is not None, 60, every=0.05)
        assert process.poll() is None, log.read_text()
        yield log
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def followed(program: list[str], directory: Path, environment: dict[str, str]) -> list[str]:
    run = subprocess.run(
        [sys.executable, *STRICT, *program], cwd=directory, env=environment, capture_output=True, text=True, timeout=60
    )
    # asyncio's own debug mode tells of each step that a busy machine makes slow.
    said = [line for line in run.stderr.splitlines() if not line.startswith("Executing <")]
    assert (run.returncode, said) == (0, [])
    return run.stdout.splitlines()


@pytest.mark.parametrize("kind", ["celery", "rq"])
def test_a_task_is_followed_to_its_result_and_to_its_error(valkey: Server, tmp_path: Path, kind: str) -> None:
    broker = valkey.address.replace("valkey://", "redis://")
    environment = os.environ | {
        "VALKEY_URL": valkey.address,
        "BROKER_URL": broker,
        "PYTHONPATH": str(ROOT / "examples"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command, ready, program = CELERY, "ready.", [str(ROOT / "examples" / "jobs_celery.py")]
    if kind == "rq":
        command, ready = [*RQ, "--url", broker], "Listening on"
        program = ["-c", "import jobs_rq; jobs_rq.main()"]
    with worker(command, tmp_path, environment, ready) as log:
        lines = followed(program, tmp_path, environment)
    # What comes between the two ends depends on who is faster; none is lost in the end, and none goes back.
    assert lines.index("done") < lines.index("{'rows': 300} ") < lines.index("failed")
    assert lines[-1] == "None ValueError: no rows"
    assert set(lines[: lines.index("done")]) <= {"queued", "running"}
    written = log.read_text()
    assert written.count("Traceback (most recent call last)") == 1, written  # that of the task itself
    assert "could not be told" not in written
    # RQ's own process has no room. Whether its client's socket counts as left open at its exit depends on the order in
    # which Python takes its modules down.
    ours, _, _ = written.partition("unsubscribing from channel")
    assert "Exception ignored" not in ours, "something was left open"
