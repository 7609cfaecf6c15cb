"""RSS of a topic and of one's own podcasts: well-formed whatever is in it, and its secret ends when it is replaced."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from xml.etree import ElementTree

import httpx
import pytest

from greenroom_platform.http.feeds import Feed
from tests.support.people import People, people_of
from tests.support.problem_checks import problem
from tests.support.running_service import API, Service
from tests.support.stream_listeners import TOPIC, Studio, tones

SERVE_ENV = {"GREENROOM_WORK": "off"}
ITUNES = "{http://www.itunes.com/dtds/podcast-1.0.dtd}"


@pytest.fixture
def people(service: Service) -> Iterator[People]:
    with people_of(service) as made:
        yield made


def channel(answer: httpx.Response) -> ElementTree.Element:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/rss+xml; charset=utf-8"
    found = ElementTree.fromstring(answer.content).find("channel")
    assert found is not None
    return found


def guids(found: ElementTree.Element) -> list[str | None]:
    return [item.findtext("guid") for item in found.findall("item")]


async def test_a_topic_s_feed_has_what_can_be_heard_with_its_length(service: Service, studio: Studio) -> None:
    claim, recording = await studio.rendering(tones(2))
    size = await recording.finish()
    await studio.platform.tasks.advance(claim, "ready_to_stream", size=size, duration=61.6)
    await studio.failed("No voice.")
    address = f"/topics/{TOPIC}/feed.xml"
    answer = service.client.get(address)
    found = channel(answer)
    topic = service.client.get(f"{API}/topics/{TOPIC}").json()
    assert (found.findtext("title"), found.findtext("link")) == (topic["display_name"], f"{service.url}/")
    assert guids(found) == [claim.podcast_id]
    item = found.find("item")
    assert item is not None
    enclosure = item.find("enclosure")
    assert enclosure is not None
    assert enclosure.attrib["type"] == "audio/webm"
    audio = service.client.get(enclosure.attrib["url"])
    assert (audio.status_code, len(audio.content)) == (200, int(enclosure.attrib["length"]))
    assert item.findtext(f"{ITUNES}duration") == "62"
    made = parsedate_to_datetime(item.findtext("pubDate") or "")
    assert abs((made - claim.task.created_at).total_seconds()) < 1
    again = service.client.get(address, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert answer.headers["cache-control"] == "public, no-cache"
    named = service.client.get(address, headers={"Host": "radio.example:8080"})
    assert channel(named).findtext("link") == "http://radio.example:8080/"
    problem(service.client.get("/topics/nobody/feed.xml"), 404, "not-found")


async def test_one_s_own_feed_has_a_secret_that_ends(service: Service, studio: Studio, people: People) -> None:
    first, second = await studio.ready(tones(1)), await studio.ready(tones(1))
    failed = await studio.failed("No voice.")
    person = people().sign_up()
    problem(person.post("/history/feed"), 401, "unauthorized")
    person.log_in()
    for one in (first, failed, second):
        person.client.put(f"{API}/history/{one}", json={}).raise_for_status()
    url = person.post("/history/feed").json()["url"]
    answer = service.client.get(url)
    found = channel(answer)
    assert guids(found) == [second, first], "without a session, the latest first"
    assert found.findtext(f"{ITUNES}block") == "Yes"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert service.client.get(url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    person.delete(f"/history/{second}").raise_for_status()
    assert guids(channel(service.client.get(url))) == [first]
    new = person.post("/history/feed").json()["url"]
    assert guids(channel(service.client.get(new))) == [first]
    user_id, _, token = url.rpartition("/")[2].removesuffix(".xml").partition(".")
    other = "B" if new[-5] == "A" else "A"
    wrong = (url, f"{new[:-5]}{other}.xml", new.removesuffix(".xml"), f"{service.url}/feeds/{user_id}..xml")
    for one in (*wrong, f"{service.url}/feeds/nobody.{token}.xml", f"{service.url}/feeds/.xml"):
        gone = service.client.get(one)
        assert (gone.status_code, gone.json()["instance"]) == (404, "/feeds/..."), one
    for secret in (token, new.rpartition(".xml")[0].rpartition(".")[2]):
        assert secret not in service.logged(), "no log tells a secret"
        stored = (service.data_dir / "greenroom.sqlite3").read_bytes()
        assert secret.encode() not in stored
    assert person.delete("/history/feed").status_code == 204
    assert service.client.get(new).status_code == 404
    assert person.client.put(f"{API}/history/feed", json={}).status_code == 405
    last = person.post("/history/feed").json()["url"]
    gone = person.client.request("DELETE", f"{API}/users/me", json={"password": "correct horse battery staple"})
    assert gone.status_code == 204
    assert service.client.get(last).status_code == 404


def test_a_feed_is_well_formed_whatever_is_written_in_it() -> None:
    odd = "".join(map(chr, range(0x20))) + "<&>\"']]>\x7f\ud800\ufffe\uffff 🎙 é"
    feed = Feed("http://here", "http://here/x?a=1&b=<2>", title=odd, description=odd)
    found = ElementTree.fromstring(feed.xml()).find("channel")
    assert found is not None
    title = found.findtext("title") or ""
    assert title.endswith("<&>\"']]>\x7f��� 🎙 é")
    assert title.startswith("�" * 9 + "\t\n")
