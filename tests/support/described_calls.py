"""Requests that lead to the answers of the calls for staff, and of those of the listener's page."""

from __future__ import annotations

from tests.support.description_driver import CONTROL, TOPIC, WHY, Driver
from tests.support.running_service import API
from tests.support.stream_listeners import Studio, tones

_SAID = b'{"lines":[{"speaker":"Laura","text":"Hello.","start_seconds":0.0,"end_seconds":1.5}],"snippets":[]}'
"""A transcript."""


async def use_staff_calls(driver: Driver, studio: Studio, username: str) -> None:
    """What editors and operators do."""
    session = f"{API}/staff/session"
    given = {"token": driver.service.token, "who": "Ana"}
    driver.send(("POST", session), status=200, json=given)
    driver.service.client.cookies.clear()
    driver.send(("POST", session), status=401)
    driver.send(("GET", session), status=200)
    driver.send(("DELETE", session), status=204)
    driver.send(("POST", f"{API}/load"), status=200, content=b"", query="?dry_run=true")
    driver.send(("GET", f"{API}/export"), status=200)
    driver.send(("GET", f"{API}/changes/{{change}}"), status=200)
    for path in "summary", "history", "actions":
        driver.send(("GET", f"{CONTROL}/{path}"), status=200)
    driver.send(("GET", f"{CONTROL}/keys/{{keyspace}}"), status=200, ids={"keyspace": "topics"})
    driver.send(("GET", f"{CONTROL}/users/{{name}}/sessions"), status=200, ids={"name": username})
    for path in "drops", "loads/cancel", "outbox/send", "queue/pause", "queue/resume":
        driver.send(("POST", f"{CONTROL}/{path}"), status=200)
    unknown = {"what": "keyspace", "keyspace": "nothing", **WHY}
    driver.send(("POST", f"{CONTROL}/drops"), status=404, json=unknown)
    driver.send(("POST", f"{CONTROL}/loads/cancel"), status=404, json={"keyspace": "nothing", "key": "a", **WHY})
    retry, release, stop, delete = (
        ("POST", f"{CONTROL}/podcasts/{{podcast_id}}/{name}") for name in ("retry", "release", "stop", "delete")
    )
    ids = {"podcast_id": await studio.failed("It failed in a test.")}
    driver.send(retry, status=200, ids=ids)
    driver.send(retry, status=409, ids=ids)
    driver.send(release, status=409, ids=ids)
    assert await studio.platform.tasks.claim("by-hand", 600) is not None
    driver.send(release, status=200, ids=ids)
    driver.send(stop, status=200, ids=ids)
    driver.send(stop, status=409, ids=ids)
    driver.send(delete, status=200, ids=ids)


async def use_page_calls(driver: Driver, studio: Studio) -> None:
    """What the listener's page asks for, with the session of a user."""
    claim, recording = await studio.rendering(tones(1))
    podcast_id = claim.podcast_id
    ids, transcript = (
        {"podcast_id": podcast_id, "topic_id": TOPIC},
        ("GET", f"{API}/podcasts/{{podcast_id}}/transcript"),
    )
    driver.send(transcript, status=409, ids=ids)
    size = await recording.finish(_SAID)
    await studio.platform.tasks.advance(claim, "ready_to_stream", size=size)
    said = driver.send(transcript, status=200, ids=ids)
    driver.send(transcript, status=304, ids=ids, headers={"If-None-Match": said.headers["etag"]})
    search = "GET", f"{API}/search"
    found = driver.send(search, status=200, query="?q=ethics")
    driver.send(search, status=304, query="?q=ethics", headers={"If-None-Match": found.headers["etag"]})
    driver.send(("GET", f"{API}/podcasts"), status=200, query=f"?ids={podcast_id}")
    driver.send(("GET", f"{API}/topics/{{topic_id}}/podcasts"), status=200, ids=ids)
    driver.send(("GET", f"{API}/podcasts/{{podcast_id}}/queue"), status=200, ids=ids)
    driver.send(("GET", f"{API}/site"), status=200)
    history, one, feed = f"{API}/history", f"{API}/history/{{podcast_id}}", f"{API}/history/feed"
    driver.send(("PUT", one), status=204, ids=ids)
    # More than a page of them.
    asked = [(await studio.platform.generation.request(TOPIC)).task.podcast_id for _ in range(21)]
    driver.send(("POST", history), status=204, json={"items": [{"podcast_id": one} for one in asked]})
    assert "link" in driver.send(("GET", history), status=200).headers
    url = driver.send(("POST", feed), status=200).json()["url"]
    own = {"name": url.rpartition("/")[2]}
    for operation, given in (("GET", "/feeds/{name}"), own), (("GET", "/topics/{topic_id}/feed.xml"), ids):
        tag = driver.send(operation, status=200, ids=given).headers["etag"]
        driver.send(operation, status=304, ids=given, headers={"If-None-Match": tag})
    driver.send(("DELETE", feed), status=204)
    driver.send(("DELETE", one), status=204, ids=ids)
