"""A look at a record on MongoDB that makes nothing: opening it for use would make what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pymongo
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from greenroom.errors import InvalidInput
from greenroom.findings import Finding, NotChecked, error, warning
from greenroom_platform.storage.mongodb.address import mongodb_name, without_password
from greenroom_platform.storage.mongodb.opening import INDEXES, WATCHED, check_hello

_DEADLINE = 5.0
CLOCKS_APART = 1.0
"""Seconds between the record's clock and this machine's from which they are warned of."""


async def look_at_database(url: str) -> Sequence[Finding]:
    """What is wrong with a record on MongoDB: the server, its indexes, what its change streams need.

    Raises:
        NotChecked: where there is no record yet.
    """
    place = without_password(url)
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(url, appname="greenroom-doctor")
    try:
        with pymongo.timeout(_DEADLINE):
            hello = await client.admin.command("hello")
            found = list(look_at_hello(place, hello))
            database = client[mongodb_name(url)]
            there = {one["name"]: one async for one in await database.list_collections()}
            if not found and not there:
                raise NotChecked(f"there is no record at {place} yet: the first `greenroom serve` makes it")
            for name, indexes in INDEXES.items():
                if name in there:
                    has = set(await database[name].index_information())
                    found += _indexes(place, name, {one.document["name"] for one in indexes} - has)
            for name in WATCHED:
                if there.get(name, {}).get("options", {}).get("changeStreamPreAndPostImages") != {"enabled": True}:
                    found.append(_no_images(place, name))
            return found
    except PyMongoError as failure:
        what = f"{place} cannot be asked: {str(failure)[:200]}"
        mend = "start the database, or correct --database-url"
        return (error("record_unreachable", what, "nothing is answered that is not cached", mend),)
    finally:
        await client.close()


def look_at_hello(place: str, hello: Mapping[str, Any]) -> Sequence[Finding]:
    """What is wrong with a server that says this of itself."""
    found: list[Finding] = []
    try:
        check_hello(place, hello)
    except InvalidInput as refusal:
        found.append(error("record_refused", refusal.reason, "no service starts on it", refusal.remedy))
    local = hello.get("localTime")
    if isinstance(local, datetime):
        apart = (local.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
        if abs(apart) > CLOCKS_APART:
            what = f"the clock of {place} is {abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} this machine's"
            why = "claims of workers are compared with each other's times"
            found.append(warning("clocks", what, why, "let NTP keep both: timedatectl set-ntp true"))
    return found


def _indexes(place: str, name: str, missing: set[str]) -> Sequence[Finding]:
    if not missing:
        return ()
    what = f"{place} lacks indexes of {name}: {', '.join(sorted(missing))}"
    return (error("no_index", what, "its reads go through the whole collection", "start a service: it makes them"),)


def _no_images(place: str, name: str) -> Finding:
    what = f"{name} at {place} keeps no images of what documents were before a change"
    why = "of what another program deletes it is not known which pages are stale"
    return warning("no_images", what, why, "start a service: it switches them on; then `greenroom drop all`")
