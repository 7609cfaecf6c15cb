"""`greenroom work` and the worker inside `serve`, ended in the middle of their work."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec
import pytest

from greenroom_platform.platform import open_platform
from tests.support.counted_tasks import STEPS, statuses_of
from tests.support.forked_programs import Forked, start
from tests.support.patience import wait_for
from tests.support.process_tree import ON_LINUX, Process, below, servers
from tests.support.running_service import API, PROGRAM, Serve, Service, environment
from tests.support.worker_processes import LONGER, TOPIC, make_longer, make_topic, renderers, task_of

pytestmark = ON_LINUX


class Work:
    """One `greenroom work`.

    Arguments:
        executed: whether the program is executed, and not forked from a process that has imported it.
    """

    def __init__(self, data_dir: Path, directory: Path, *, executed: bool = False) -> None:
        self._printed = directory / "work"
        self.process: subprocess.Popen[bytes] | Forked
        arguments, env = ["work", "--data-dir", str(data_dir)], environment({"TMPDIR": str(directory)})
        if not executed:
            self.process = start(arguments, env, output=self._printed)
            return
        with self._printed.open("wb") as printed:
            self.process = subprocess.Popen(
                [str(PROGRAM), *arguments], env=env, stderr=printed, stdout=printed, start_new_session=True
            )

    def output(self) -> str:
        return self._printed.read_text()

    def wait_until_it_works(self) -> None:
        wait_for(lambda: "working" in self.output(), 60)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(40)


Works = Callable[..., Work]


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Works]:
    """Starts workers, and ends them after the test, however it went."""
    with ExitStack() as stack:

        def started(data_dir: Path, **options: bool) -> Work:
            work = Work(data_dir, tmp_path, **options)
            stack.callback(work.process.wait)
            stack.callback(work.process.kill)
            return work

        yield started


def test_a_directory_that_nobody_named_is_not_made_by_work(tmp_path: Path) -> None:
    line = [str(PROGRAM), "work", "--database-url", "sqlite:greenroom.sqlite3"]
    run = subprocess.run(line, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 1
    assert run.stderr.startswith(f"greenroom: --data-dir: there is no greenroom-data in {tmp_path}; name the data dir")
    assert list(tmp_path.iterdir()) == []


def generate(service: Service, topic_id: str) -> str:
    answer = service.client.post(f"{API}/podcasts/generate", json={"topic_id": topic_id})
    podcast_id: str = answer.raise_for_status().json()["podcast_id"]
    return podcast_id


def held_renderer(pid: int, parts: Path) -> Process:
    """The renderer of a process, stopped when something has been recorded: it will not come to its end by itself."""

    def has_recorded() -> bool:
        with suppress(FileNotFoundError):  # what is there may be replaced meanwhile
            return any(part.stat().st_size > 4096 for part in parts.iterdir())
        return False

    wait_for(lambda: renderers(pid) and has_recorded(), 60)
    (renderer,) = renderers(pid)
    renderer.signal(signal.SIGSTOP)
    return renderer


async def was_given_back(data_dir: Path, podcast_id: str) -> bool:
    """Whether a task can be claimed at once, shows what it showed, and the attempt does not count."""
    async with open_platform(data_dir=data_dir) as platform:
        task = await task_of(platform, podcast_id)
    return (task.status, task.attempts, task.worker) == ("audio_rendering", 0, msgspec.UNSET)


async def made(data_dir: Path, podcast_id: str) -> list[str]:
    async with open_platform(data_dir=data_dir) as platform:
        statuses = await statuses_of(platform.statuses.follow(podcast_id))
        assert await platform.recordings.whole(podcast_id) is not None
    return statuses


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_worker_ends_at_once_and_stops_its_valkey(tmp_path: Path, work: Works, number: int) -> None:
    data_dir = tmp_path / "data"
    alone = work(data_dir, executed=True)
    alone.wait_until_it_works()
    assert len(servers(data_dir)) == 1
    assert alone.stop(number) == 0
    assert not servers(data_dir)
    assert "Traceback" not in alone.output()


def test_a_signal_while_a_worker_still_starts_leaves_no_process_behind(tmp_path: Path, work: Works) -> None:
    data_dir = tmp_path / "data"
    starting = work(data_dir)
    wait_for(lambda: servers(data_dir), 60)
    assert starting.stop() == 0
    assert not servers(data_dir)
    assert "Traceback" not in starting.output()


def test_a_stopped_worker_releases_its_task_and_another_finishes_it(serve: Serve, work: Works) -> None:
    service = serve("--sample", "off", "--work", "off")
    make_longer(service, stories=3)
    parts = service.data_dir / "recordings" / "parts"
    first = work(service.data_dir)
    podcast_id = generate(service, LONGER)
    renderer = held_renderer(first.process.pid, parts)
    assert first.stop() == 0
    assert not renderer.lives
    assert not list(parts.iterdir())
    assert "Traceback" not in first.output()
    assert asyncio.run(was_given_back(service.data_dir, podcast_id))
    make_topic(service)
    short = generate(service, TOPIC)
    second = work(service.data_dir)
    for one in (podcast_id, short):
        statuses = asyncio.run(made(service.data_dir, one))
        assert statuses == sorted(statuses, key=STEPS.index)
    answer = service.client.get(f"{API}/podcasts/{podcast_id}/audio.webm")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/webm")
    assert second.stop() == 0
    assert service.stop() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stopped_service_releases_its_task_and_resumes_it_later(serve: Serve, workers: str) -> None:
    service = serve("--sample", "off", "--workers", workers)
    make_longer(service, stories=3)
    parts = service.data_dir / "recordings" / "parts"
    podcast_id = generate(service, LONGER)
    everyone = below(service.process.pid)
    renderer = held_renderer(service.process.pid, parts)
    assert service.stop(signal.SIGTERM) == 0
    assert not renderer.lives
    wait_for(lambda: not any(one.lives for one in everyone))
    assert not list(parts.iterdir())
    assert "Traceback" not in service.output()
    assert asyncio.run(was_given_back(service.data_dir, podcast_id))
    service.start()
    statuses = asyncio.run(made(service.data_dir, podcast_id))
    assert statuses[-1] == "ready_to_stream"
