"""A backup of the record under a service that writes, and its restore beside the same caches, as the docs say."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import msgspec

from greenroom_platform.domain.records import TopicDraft
from greenroom_platform.platform import DATABASE_FILE, open_platform
from tests.support.mongo_server import MongoServer
from tests.support.people import PASSWORD
from tests.support.real_servers import Server
from tests.support.repository import ROOT
from tests.support.running_service import API, KEPT, NO_TLS, Serve, Service, command
from tests.support.stream_listeners import TOPIC as RECORDED
from tests.support.stream_listeners import Studio, tones

TOPICS = [f"topic_{number}" for number in range(4)]
PATHS = [
    *("topics", "snippets?topic_id=topic_0", f"snippets?topic_id={RECORDED}"),
    *(f"topics/{topic}" for topic in (*TOPICS, "later")),
]


def documented(name: str, *, but: str | None = None, **variables: object) -> None:
    """Run a block of docs/operations.md, which begins with its name.

    Arguments:
        but: what a line that is left out begins with.
    """
    text = (ROOT / "docs" / "operations.md").read_text()
    (block,) = re.findall(rf"^ *```bash\n *# {name}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    block = "\n".join(line for line in block.splitlines() if but is None or not line.strip().startswith(but))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path} | {key: str(value) for key, value in variables.items()}
    subprocess.run(["bash", "-euc", block], env=env, check=True, capture_output=True, timeout=100)


def write(service: Service, topic_id: str, text: str, client: httpx.Client | None = None) -> None:
    draft = {"display_name": topic_id, "description": text, "keywords": []}
    path = f"{API}/topics/{topic_id}"
    (client or service.client).put(path, json=draft, headers=service.editor).raise_for_status()


def shown(service: Service) -> dict[str, Any]:
    """What is served at each path; twice, so that it is served from near too."""
    for _ in range(2):
        answers = [service.client.get(f"{API}/{path}") for path in PATHS]
    found = zip(PATHS, answers, strict=True)
    return {path: answer.json() if answer.status_code == 200 else None for path, answer in found}


@contextmanager
def writing(service: Service) -> Iterator[None]:
    """Somebody who writes and reads all the time, and has written each topic before the block."""
    ended, begun = Event(), Event()

    def work() -> int:
        number = 0
        with httpx.Client(base_url=service.url, timeout=30, verify=NO_TLS, limits=KEPT) as client:
            while not ended.is_set():
                number += 1
                for topic_id in TOPICS:
                    write(service, topic_id, f"During the backup, {number}.", client)
                    client.get(f"{API}/topics/{topic_id}").raise_for_status()
                begun.set()
        return number

    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(work)
        try:
            assert begun.wait(60) or working.result() is None
            yield
        finally:
            ended.set()
        working.result()


def stored(record: Path) -> dict[str, Any]:
    """The topics of the tests in a copy of the record."""
    with closing(sqlite3.connect(record)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = connection.execute("SELECT topic_id, document FROM topics").fetchall()
    return {topic_id: json.loads(document) for topic_id, document in rows if topic_id in TOPICS}


async def test_a_restored_backup_shows_nothing_of_the_time_after_it(
    valkey: Server, serve: Serve, tmp_path: Path
) -> None:
    backup, fresh = tmp_path / "backup", tmp_path / "fresh"
    flags = "--valkey-url", valkey.address, "--work", "off"
    service = serve(*flags, home="before")
    async with open_platform(valkey.address, data_dir=service.data_dir) as platform:
        podcast_id = await Studio(platform).ready(tones(1))
    audio = f"{API}/podcasts/{podcast_id}/audio.webm"
    sound = service.client.get(audio).raise_for_status().content
    person = {"username": "before", "password": PASSWORD}
    service.client.post(f"{API}/users", json=person).raise_for_status()
    with writing(service):
        documented("backup", DATA=service.data_dir, BACKUP=backup)
    of_backup = stored(backup / DATABASE_FILE)
    assert {document["description"][:17] for document in of_backup.values()} == {"During the backup"}
    # All that comes after the backup is cached, in the process and on the server.
    for topic_id in (*TOPICS, "later"):
        write(service, topic_id, "After the backup.")
    later = {"username": "later", "password": PASSWORD}
    service.client.post(f"{API}/users", json=later).raise_for_status()
    log_in = service.client.post(f"{API}/session/login", json=later | {"token": True}).raise_for_status()
    session = {"Authorization": f"Bearer {log_in.json()['token']}"}
    snippet = {"topic_id": "topic_0", "title": "After", "text_content": "The backup."}
    service.client.post(f"{API}/snippets", json=snippet, headers=service.editor).raise_for_status()
    asked = service.client.post(f"{API}/podcasts/generate", json={"topic_id": RECORDED}).json()["status_url"]
    service.client.get(asked).raise_for_status()
    assert shown(service)["topics/later"]["description"] == "After the backup."
    assert service.stop() == 0
    assert valkey.raw()("KEYS", "cache:*")
    documented("restore", DATA=fresh, BACKUP=backup, VALKEY=valkey.address)
    assert valkey.raw()("KEYS", "cache:*") == []
    restored = serve(*flags, home="restored", data_dir=fresh)
    found = shown(restored)
    assert {topic_id: found[f"topics/{topic_id}"] for topic_id in TOPICS} == of_backup
    assert found["topics/later"] is None
    listed = {one["topic_id"]: one for one in found["topics"]}
    assert {topic_id: listed[topic_id] for topic_id in TOPICS} == of_backup
    assert "later" not in listed
    assert found["snippets?topic_id=topic_0"] == []
    assert restored.client.get(asked).status_code == 404
    assert restored.client.get(audio).content == sound
    assert restored.client.post(f"{API}/session/login", json=person).status_code == 200
    # Sessions are kept: of a user too who is not in the backup.
    assert restored.client.post(f"{API}/session/login", json=later).status_code == 401
    restored.client.cookies.clear()
    changed = restored.client.patch(f"{API}/session/preferences", json={"playback_speed_default": 1.5}, headers=session)
    assert changed.status_code == 200, changed.text
    assert restored.client.get(f"{API}/session", headers=session).status_code == 200
    await _hold_what_comes_of_no_drop(restored, valkey, backup)


async def _hold_what_comes_of_no_drop(service: Service, valkey: Server, backup: Path) -> None:
    """Put in its place alone, a record is stale until somebody watches it, and then knows that it is a copy."""
    write(service, "later", "After the restore.")
    assert shown(service)["topics/later"]["description"] == "After the restore."
    assert service.stop() == 0
    documented("restore", but="greenroom drop", DATA=service.data_dir, BACKUP=backup, VALKEY=valkey.address)
    async with open_platform(valkey.address, data_dir=service.data_dir) as platform:
        assert await platform.topics.get("later") is not None
        async with platform.watching():
            async with asyncio.timeout(30):
                while await platform.topics.get("later") is not None:
                    await asyncio.sleep(0.01)


async def test_a_record_in_mongodb_is_put_back_as_its_page_says(
    mongo_shared: MongoServer, valkey: Server, tmp_path: Path
) -> None:
    url, restored = (mongo_shared.url(f"t{secrets.token_hex(6)}") for _ in range(2))
    draft = TopicDraft(display_name="Before", description="", keywords=())
    async with open_platform(valkey.address, data_dir=tmp_path, database=url) as platform:
        await platform.topics.edit("kept", lambda _: draft)
        await platform.accounts.create("somebody", PASSWORD)
        await platform.generation.request("kept")
    script("backup_mongodb.py", url, tmp_path)
    async with open_platform(valkey.address, data_dir=tmp_path, database=url) as platform:
        await platform.topics.edit("kept", lambda _: msgspec.structs.replace(draft, display_name="After"))
        assert await platform.topics.get("kept") is not None
    script("restore_mongodb.py", restored, tmp_path)
    dropped = await asyncio.to_thread(command, "drop", "all", "--valkey-url", valkey.address)
    assert dropped.returncode == 0, dropped.stderr
    async with open_platform(valkey.address, data_dir=tmp_path, database=restored) as platform:
        topic = await platform.topics.get("kept")
        assert topic is not None
        assert topic.display_name == "Before"
        assert (await platform.accounts.sign_in("somebody", PASSWORD, address="a")).username == "somebody"
        assert (await platform.generation.queue())[0] == 1


def script(name: str, url: str, directory: Path) -> None:
    """Run a program of docs/mongodb.md, whose first line has its name."""
    text = (ROOT / "docs" / "mongodb.md").read_text()
    (program,) = re.findall(rf"^```python\n# {re.escape(name)} .*?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    subprocess.run([sys.executable, "-c", program, url, str(directory)], check=True, capture_output=True, timeout=100)
