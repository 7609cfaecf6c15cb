"""The process that speaks a service's podcasts, held still by hand: what is heard is heard before it is whole."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.support.patience import wait_for
from tests.support.process_tree import Process, below
from tests.support.running_service import API, Service
from tests.support.studio_samples import sample

LONG, SHORT, BARE = "voyages", "brief", "bare"
"""Topics: of a podcast of almost a minute, of one of half of that, and one of which there is nothing to tell."""
NAMES = {LONG: "Voyages", SHORT: "Brief News", BARE: "Nothing Yet"}


def write_topics(service: Service) -> None:
    """Topics for podcasts of known lengths."""
    _, stories = sample("ocean_science")
    texts = {LONG: [story.text_content for story in stories[:1]], SHORT: ["The bridge is open again."], BARE: []}
    for topic, told in texts.items():
        draft = {"display_name": NAMES[topic], "description": "Of a test.", "keywords": []}
        service.client.put(f"{API}/topics/{topic}", json=draft, headers=service.editor).raise_for_status()
        for number, text in enumerate(told):
            snippet = {"topic_id": topic, "title": f"Story {number}", "text_content": text}
            service.client.post(f"{API}/snippets", json=snippet, headers=service.editor).raise_for_status()


def ask_for(service: Service, topic: str) -> str:
    """Ask for a podcast; returns its id."""
    answer = service.client.post(f"{API}/podcasts/generate", json={"topic_id": topic})
    answer.raise_for_status()
    return str(answer.json()["podcast_id"])


def is_whole(service: Service, podcast_id: str) -> bool:
    """Whether its recording can be had, as the service says."""
    answer = service.client.head(f"{API}/podcasts/{podcast_id}/audio.webm")
    assert answer.status_code in (200, 409)
    return answer.status_code == 200


# docs/decisions/0067-tests-hold-the-renderer.md
class Renderer:
    """A renderer that stands still."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it speak on."""
        self._signal(signal.SIGCONT)

    def hold(self) -> None:
        """Let it stand still again."""
        self._signal(signal.SIGSTOP)

    def speak(self, heard: Callable[[], float], seconds: float) -> None:
        """Let it speak until so many seconds were heard, and hold it again; a busy machine makes it little more."""

        def turn() -> bool:
            # Once it is heard at all, it speaks while we ask and no longer.
            self.go_on()
            come = heard()
            if come:
                self._signal(signal.SIGSTOP)
                assert self.process.lives, "it has said everything before so much was heard"
            return come > seconds

        wait_for(turn, 60)

    def _signal(self, number: int) -> None:
        if self.process.lives:
            os.kill(self.process.pid, number)


@contextmanager
def held(service: Service, *, after: Renderer | None = None) -> Iterator[Renderer]:
    """The next renderer of a service, held before it has said anything; it goes on after the block.

    Arguments:
        after: one that may still be there, and is not the next.
    """
    gone = None if after is None else after.process
    found = list[Process]()

    def begun() -> bool:
        found[:] = [one for one in below(service.process.pid) if "studio.render_process" in one.command and one != gone]
        return bool(found)

    wait_for(begun, 60)
    renderer = Renderer(found[0])
    try:
        yield renderer
    finally:
        renderer.go_on()
