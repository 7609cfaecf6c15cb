"""`greenroom drop`: beside running services, which serve nothing from before it and need no restart."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from greenroom.acl import Role, rules
from greenroom_platform.cli.declarations import DECLARATIONS
from greenroom_platform.platform import DATABASE_FILE
from tests.support.patience import wait_for
from tests.support.real_servers import Raw, Server
from tests.support.running_service import API, Serve, Service, command

PASSWORD = "a-password-of-the-tests"


def restore(service: Service, title: str) -> None:
    """Change every snippet as a restored file does: nothing tells of it."""
    with closing(sqlite3.connect(service.data_dir / DATABASE_FILE, timeout=20)) as record:
        for snippet_id, text in record.execute("SELECT snippet_id, document FROM snippets").fetchall():
            changed = json.dumps(json.loads(text) | {"title": title})
            record.execute("UPDATE snippets SET document = ? WHERE snippet_id = ?", (changed, snippet_id))
        record.execute("DELETE FROM foreign_changes")
        record.commit()


def titles(service: Service) -> set[str]:
    """The titles of one snippet, as it is served itself and on the first page of its topic."""
    topic_id = service.client.get(f"{API}/topics").raise_for_status().json()[0]["topic_id"]
    first = service.client.get(f"{API}/snippets?topic_id={topic_id}").raise_for_status().json()[0]
    one = service.client.get(f"{API}/snippets/{first['snippet_id']}").raise_for_status().json()
    return {first["title"], one["title"]}


def user(raw: Raw, server: Server, role: Role) -> str:
    """The address of the server with a user of a role."""
    found = rules(role, DECLARATIONS)
    assert found is not None
    assert raw("ACL", "SETUSER", role.value, "reset", "on", f">{PASSWORD}", *found.text().split()) == b"OK"
    return server.address.replace("://", f"://{role.value}:{PASSWORD}@")


def test_dropped_keyspaces_are_loaded_anew_by_services_that_go_on(valkey: Server, serve: Serve) -> None:
    services = [serve("--valkey-url", valkey.address, home="one")]
    services.append(serve("--valkey-url", valkey.address, home="other", data_dir=services[0].data_dir))
    for service in services:
        before = titles(service)
    restore(services[0], "Restored")
    assert [titles(service) for service in services] == [before] * 2
    run = command("drop", "snippet", "snippet_page", "--valkey-url", valkey.address)
    assert run.returncode == 0, run.stderr
    assert "Dropped snippet.\nDropped snippet_page.\nDeleted " in run.stderr
    wait_for(lambda: all(titles(service) == {"Restored"} for service in services))
    assert [titles(service) for service in services] == [{"Restored"}] * 2


def test_everything_is_deleted_but_for_sessions_and_other_programs_keys(valkey: Server) -> None:
    raw = valkey.raw()
    ours = ["cache:topic:a", "cache:topics:all", "cache:snippet:a", "cache:snippets:topic:a:page:1"]
    ours += ["cache:podcast_status:a", "lease:{cache:topic:a}", "absent:{cache:topic:a}"]
    others = ["session:a", "cache:topic:a:b", "other", "cache:snippets:topic:a:page:x:y"]
    for key in (*ours, *others):
        raw("SET", key, "old")
    run = command("drop", "all", "--valkey-url", valkey.address)
    assert run.returncode == 0, run.stderr
    assert raw("EXISTS", *ours) == 0
    assert raw("EXISTS", *others) == len(others)


def test_a_worker_may_drop_and_a_viewer_look_for_the_keys(valkey: Server) -> None:
    raw = valkey.raw()
    worker, viewer = user(raw, valkey, Role.WORKER), user(raw, valkey, Role.VIEWER)
    raw("SET", "cache:topic:a", "old")
    run = command("drop", "topic", "--valkey-url", worker)
    assert run.returncode == 1
    dropped, refused = run.stderr.splitlines()
    assert dropped == "Dropped topic."
    assert refused.startswith("greenroom: --viewer-url: the keys of topic are not deleted: NOPERM")
    assert raw("EXISTS", "cache:topic:a") == 1
    run = command("drop", "topic", "--valkey-url", worker, "--viewer-url", viewer)
    assert run.returncode == 0, run.stderr
    assert raw("EXISTS", "cache:topic:a") == 0
    assert raw("EXISTS", "greenroom:generation:{cache:topic:{topic_id}}") == 1
    for known in (worker, viewer):
        assert known.rpartition("@")[0] not in run.stderr


def test_with_keep_nothing_is_deleted(valkey: Server) -> None:
    valkey.raw()("SET", "cache:topic:a", "old")
    assert command("drop", "topic", "--keep", "--valkey-url", valkey.address).returncode == 0
    assert valkey.raw()("EXISTS", "cache:topic:a") == 1


@pytest.mark.parametrize("wanted", [["session"], ["planet"], []], ids=["sessions", "unknown", "none"])
def test_what_is_no_cached_keyspace_is_refused(wanted: list[str]) -> None:
    assert command("drop", *wanted).returncode != 0
