"""Another program writes to the file of a running `greenroom serve`: the new value is served within two seconds."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from greenroom_platform.platform import DATABASE_FILE
from tests.support.acl_roles import working
from tests.support.patience import wait_for
from tests.support.real_servers import Server
from tests.support.running_service import API, Serve, Service


@contextmanager
def outside(service: Service) -> Iterator[sqlite3.Connection]:
    """The file as any other program opens it."""
    with closing(sqlite3.connect(service.data_dir / DATABASE_FILE, timeout=10)) as record:
        yield record
        record.commit()


def title(service: Service, path: str) -> str:
    """The title of a snippet, as it is served."""
    found = service.client.get(path).raise_for_status().json()
    return str(found["title"])


def hit(service: Service, path: str) -> bool:
    """Whether a path is answered from the near cache."""
    return "detail=near" in service.client.get(path).headers["cache-status"]


@pytest.fixture
def path(serve: Serve, service: Service) -> str:
    """A snippet of the sample that the service answers from its near cache."""
    first = service.client.get(f"{API}/snippets").raise_for_status().json()[0]
    path = f"{API}/snippets/{first['snippet_id']}"
    wait_for(lambda: hit(service, path))
    return path


@pytest.fixture
def service(serve: Serve) -> Service:
    return serve()


def test_an_update_by_another_program_is_served_within_two_seconds(
    service: Service, path: str, record_property: Callable[[str, object], None]
) -> None:
    snippet_id = path.rpartition("/")[2]
    with outside(service) as record:
        (text,) = record.execute("SELECT document FROM snippets WHERE snippet_id = ?", (snippet_id,)).fetchone()
        document = json.dumps(json.loads(text) | {"title": "Written by hand"})
        record.execute("UPDATE snippets SET document = ? WHERE snippet_id = ?", (document, snippet_id))
    written = time.monotonic()
    wait_for(lambda: title(service, path) == "Written by hand", 10)
    record_property("figure", f"a foreign update was served after {time.monotonic() - written:.2f} s")
    wait_for(lambda: hit(service, path))
    assert title(service, path) == "Written by hand"

    def settled() -> bool:
        with outside(service) as record:
            found: bool = record.execute("SELECT count(*) FROM foreign_changes").fetchone() == (0,)
            return found

    wait_for(settled)  # what is served is dropped already; the row goes when that was acknowledged


def test_a_worker_watches_where_no_service_runs(valkey: Server, serve: Serve) -> None:
    service = serve("--valkey-url", valkey.address)
    raw, key = valkey.raw(), "cache:topic:worker"
    assert service.stop() == 0
    with working(service.data_dir, {"GREENROOM_VALKEY_URL": valkey.address}):
        raw("SET", key, "old", "EX", 600)
        with outside(service) as record:
            record.execute("INSERT INTO topics VALUES ('worker', 'Worker', '{}')")
        wait_for(lambda: not raw("EXISTS", key), 20)
