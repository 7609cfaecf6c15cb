"""A service, its record on MongoDB and its Valkey, killed in turn: nothing acknowledged is lost, nor served old."""

from __future__ import annotations

from functools import partial

import httpx

from tests.support.mongo_server import MongoServer
from tests.support.patience import wait_for
from tests.support.real_servers import Server
from tests.support.running_service import API, Serve, Service

NAMES = ("record", "Valkey", "service", "Valkey", "record", "service")
"""What is killed, one after the other: each of them after each other."""


def rename(service: Service, topic_id: str, name: str) -> bool:
    """Whether a service has acknowledged a new name of a topic."""
    body = {"display_name": name, "description": "", "keywords": []}
    try:
        return service.client.put(f"{API}/topics/{topic_id}", json=body, headers=service.editor).is_success
    except httpx.HTTPError:
        return False


def serves(service: Service, names: dict[str, str]) -> bool:
    """Whether a service gives every topic its last acknowledged name, singly and in the list of all."""
    try:
        listed = service.client.get(f"{API}/topics").raise_for_status().json()
        singly = [service.client.get(f"{API}/topics/{one}").raise_for_status().json() for one in names]
    except httpx.HTTPError:
        return False
    found = {one["topic_id"]: one["display_name"] for one in listed}
    return all(found.get(one) == name for one, name in names.items()) and [
        one["display_name"] for one in singly
    ] == list(names.values())


def test_service_record_and_valkey_killed_in_turn_lose_nothing_acknowledged(
    mongo: MongoServer, lasting: Server, serve: Serve
) -> None:
    flags = "--valkey-url", lasting.address, "--database-url", mongo.url("greenroom")
    service = serve(*flags)
    names: dict[str, str] = {}
    for number, killed in enumerate(NAMES):
        for topic_id in ("a", f"t{number}"):
            wait_for(partial(rename, service, topic_id, f"Name {number}"), 60)
            names[topic_id] = f"Name {number}"
        wait_for(partial(serves, service, names), 60)  # near and on Valkey, in their last version
        if killed == "record":
            mongo.kill()
            mongo.start()
        elif killed == "service":
            assert rename(service, "a", "The last word")
            names["a"] = "The last word"
            service.kill()
            service = serve(*flags)
        else:
            lasting.kill()
            # Without Valkey a change is acknowledged all the same: its outbox row waits.
            wait_for(partial(rename, service, "a", f"Without Valkey, {number}"), 60)
            names["a"] = f"Without Valkey, {number}"
            lasting.start()  # it may have the old values again
        wait_for(partial(serves, service, names), 60)
    assert all(serves(service, names) for _ in range(20))
