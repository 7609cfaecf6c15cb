"""`greenroom serve --workers 2`: one service in several processes, whichever of them dies."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from greenroom.counters import Counters
from greenroom_platform.http.metrics import Metrics
from greenroom_platform.http.worker_counts import fold
from greenroom_platform.platform import DATABASE_FILE
from tests.support.patience import wait_for
from tests.support.process_tree import ON_LINUX, Process, below, parent, process, servers, the_server, workers
from tests.support.running_service import API, NO_TLS, TOKEN, Service

pytestmark = ON_LINUX

SNIPPETS = "/api/v1/snippets"
EXECUTED = pytest.mark.parametrize("service", [pytest.param(True, id="executed")], indirect=True)


@pytest.fixture
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """A service of two workers for one test; `EXECUTED` ones are spawned, as outside of the tests."""
    executed = getattr(request, "param", False)
    service = Service(tmp_path, "--workers", "2", env={"GREENROOM_EDITOR_TOKEN": TOKEN}, executed=executed).start()
    # One worker that answers makes the service ready; the tests want both.
    raw = service.raw()
    wait_for(lambda: raw("CLIENT", "LIST").count(b"name=greenroom-tracked") == 2, 60)
    raw.close()
    yield service
    service.kill()


def read(service: Service, path: str) -> httpx.Response:
    """A read over a connection of its own: whichever worker takes it."""
    answer = httpx.get(service.url + path, timeout=30, verify=NO_TLS)
    assert answer.status_code == 200
    return answer


def first_page(service: Service) -> str:
    """The path of a page that holds something."""
    return f"{SNIPPETS}?topic_id={read(service, f'{API}/topics').json()[0]['topic_id']}"


def counted(service: Service) -> int:
    """How many reads of snippet pages one scrape knows of."""
    found = re.search(
        rf'^greenroom_http_requests_total{{method="GET",route="{SNIPPETS}",status="200"}} ([0-9.]+)$',
        read(service, "/metrics").text,
        re.MULTILINE,
    )
    return int(float(found.group(1))) if found else 0


@contextmanager
def frozen(one: Process) -> Iterator[None]:
    """Stop a process, so that others have to do its work."""
    os.kill(one.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(one.pid, signal.SIGCONT)


def replaced(service: Service, victim: Process) -> bool:
    """Whether two workers live again after one has died."""
    living = workers(service.process.pid)
    return victim not in living and len(living) == 2


@EXECUTED
def test_each_of_two_workers_serves_the_same_and_one_scrape_counts_both(service: Service) -> None:
    one, other = workers(service.process.pid)
    assert "workers     2" in service.output()
    page = first_page(service)
    bodies = set()
    for asleep in (one, other):
        with frozen(asleep):
            answers = [read(service, page) for _ in range(10)]
        bodies |= {answer.content for answer in answers}
        assert answers[-1].headers["cache-status"].startswith("greenroom; hit")
    assert len(bodies) == 1
    assert len(servers(service.data_dir)) == 1
    wait_for(lambda: counted(service) == 20, 30)


def test_an_edit_through_one_worker_is_what_the_other_reads_next(service: Service) -> None:
    one, other = workers(service.process.pid)
    page = first_page(service)
    (snippet, *_) = read(service, page).json()
    path = f"{SNIPPETS}/{snippet['snippet_id']}"
    for number, (writer, reader) in enumerate([(one, other), (other, one)]):
        with frozen(writer):
            read(service, path)
            assert read(service, path).headers["cache-status"].startswith("greenroom; hit")
        edited = snippet | {"title": f"Edit {number}"}
        with frozen(reader):
            httpx.put(
                service.url + path, json=edited, headers=service.editor, timeout=30, verify=NO_TLS
            ).raise_for_status()
        with frozen(writer):
            assert read(service, path).json()["title"] == f"Edit {number}"
            assert read(service, page).json()[0]["title"] == f"Edit {number}"


def test_of_two_workers_one_fills_the_empty_record(service: Service) -> None:
    assert service.output().count("loaded the sample") == 1
    assert len(read(service, f"{API}/topics").json()) >= 12


def shared(service: Service) -> Path:
    """Where the workers share their numbers."""
    (found,) = service.data_dir.parent.glob("greenroom-metrics-*")
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_main_process_ends_every_worker_and_the_valkey(service: Service, number: int) -> None:
    everyone = {process(service.process.pid)} | below(service.process.pid) | servers(service.data_dir)
    assert len(everyone) >= 4, "the main process, two workers and the Valkey"
    assert service.stop(number) == 0
    wait_for(lambda: not any(one.lives for one in everyone), 30)
    wait_for(lambda: not servers(service.data_dir))
    assert "Traceback" not in service.output()


def test_ctrl_c_in_a_terminal_which_reaches_all_of_them_is_no_different(service: Service) -> None:
    everyone = below(service.process.pid)
    both = workers(service.process.pid)
    with frozen(process(service.process.pid)):
        os.killpg(service.process.pid, signal.SIGINT)
        # Where the main process is the last to hear of it, it must not replace those that were quicker.
        wait_for(lambda: not any(one.lives for one in both), 40)
    assert service.process.wait(40) == 0
    wait_for(lambda: not any(one.lives for one in everyone), 30)
    assert "is replaced" not in service.output()
    assert "Traceback" not in service.output()


def test_a_killed_main_process_takes_its_workers_and_its_valkey_with_it(service: Service) -> None:
    everyone = below(service.process.pid)
    assert len(everyone) >= 3
    service.kill()
    wait_for(lambda: not any(one.lives for one in everyone), 40)
    wait_for(lambda: not servers(service.data_dir))


def test_a_main_process_killed_while_its_workers_start_leaves_none_of_them(tmp_path: Path) -> None:
    service = Service(tmp_path, "--workers", "2", env={"GREENROOM_EDITOR_TOKEN": TOKEN}, executed=True)
    for _ in range(3):
        service.launch()
        wait_for(lambda: len(workers(service.process.pid)) == 2, 60)
        everyone = below(service.process.pid)
        service.kill()
        wait_for(lambda born=everyone: not any(one.lives for one in born), 40)
        wait_for(lambda: not servers(service.data_dir), 40)


def test_a_killed_worker_is_replaced_and_the_scrape_keeps_what_it_counted(service: Service) -> None:
    page = first_page(service)
    for victim in sorted(workers(service.process.pid)):
        (other,) = workers(service.process.pid) - {victim}
        with frozen(other):
            before = counted(service)
            for _ in range(10):
                read(service, page)
            # Told by the victim itself, so that it can no longer be forgotten.
            assert counted(service) == before + 10
            os.kill(victim.pid, signal.SIGKILL)
        wait_for(lambda gone=victim: replaced(service, gone), 60)
        assert counted(service) == before + 10
        # The main process puts its numbers to those of others that have ended; its successor may live before that.
        wait_for(lambda gone=victim: not list(shared(service).glob(f"{gone.pid}-*.json")))
        assert counted(service) == before + 10
    assert read(service, page).headers["cache-status"].startswith("greenroom")
    wait_for(lambda: read(service, page).headers["cache-status"].startswith("greenroom; hit"), 60)


def test_a_replacement_that_cannot_start_is_retried_while_others_serve(service: Service) -> None:
    page = first_page(service)
    (victim, _) = workers(service.process.pid)
    with closing(sqlite3.connect(service.data_dir / DATABASE_FILE, isolation_level=None)) as busy:
        busy.execute("BEGIN IMMEDIATE")
        os.kill(victim.pid, signal.SIGKILL)
        wait_for(lambda: "cannot start: the database is busy" in service.output(), 60)
        wait_for(lambda: service.output().count("is replaced") == 2, 60)
        assert read(service, page).status_code == 200
        busy.execute("ROLLBACK")
    wait_for(lambda: replaced(service, victim), 60)
    assert service.stop(signal.SIGTERM) == 0


def test_another_worker_takes_over_the_valkey_of_a_killed_one(service: Service) -> None:
    page = first_page(service)
    valkey = the_server(service.data_dir)
    owner = process(parent(valkey))
    assert owner in workers(service.process.pid)
    os.kill(owner.pid, signal.SIGKILL)
    wait_for(lambda: not valkey.lives, 30)
    wait_for(lambda: replaced(service, owner), 60)
    wait_for(lambda: read(service, page).headers["cache-status"].startswith("greenroom; hit"), 60)
    assert the_server(service.data_dir) != valkey
    assert service.stop() == 0
    assert not servers(service.data_dir)


def test_what_one_scrape_told_the_next_one_of_another_worker_knows(tmp_path: Path) -> None:
    """Else the sum falls, and Prometheus counts everything a second time."""
    one, other = Metrics(Counters(), tmp_path), Metrics(Counters(), tmp_path)
    line = b'greenroom_http_requests_total{method="GET",route="/",status="200"} 3.0'
    for _ in range(3):
        one.request("GET", "/", 200, 0.001)
    assert line in one.exposition()
    assert line in other.exposition()
    assert line in one.exposition()


def test_what_ended_workers_have_left_is_one_file_and_stays_in_every_sum(tmp_path: Path) -> None:
    lives = Metrics(Counters(), tmp_path)
    lives.request("GET", "/", 200, 0.001)
    for number in range(1, 4):
        ended = Metrics(Counters(), tmp_path)
        for _ in range(2):
            ended.request("GET", "/", 200, 0.001)
        ended.share()
        assert ended._file.path is not None
        left = tmp_path / f"0-{number}.json"  # as of another process, and killed as it wrote
        ended._file.path.rename(left)
        left.with_suffix(".part").write_text("{")
        line = f'greenroom_http_requests_total{{method="GET",route="/",status="200"}} {1 + 2 * number}.0'.encode()
        again = left.read_bytes()
        for _ in range(2):
            assert line in lives.exposition()
            fold(tmp_path, {os.getpid()})
            assert line in lives.exposition()
            left.write_bytes(again)  # as where it could not be deleted yet
        fold(tmp_path, {os.getpid()})
        assert f'greenroom_http_request_seconds_count{{route="/"}} {1 + 2 * number}.0'.encode() in lives.exposition()
        assert len(list(tmp_path.iterdir())) == 2, "those of the one that lives, and of all that have ended"
