"""`GREENROOM = {...}` of a project's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from django.conf import settings

from greenroom.argument_types import type_name
from greenroom.engine import Address
from greenroom.errors import InvalidInput

_OUTBOX_EVERY = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class GreenroomSettings:
    """What `GREENROOM` says.

    Arguments:
        url: of the server; None for an embedded one.
        prefix: stands before every key.
        data_dir: where an embedded server keeps its data.
        outbox_every: how often a process looks for drops that another one has left unsent; zero: never.
    """

    url: str | None = None
    prefix: str = ""
    data_dir: str | None = None
    outbox_every: timedelta = _OUTBOX_EVERY


_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "URL": ((str, type(None)), "give an address, as 'valkey://cache.internal:6379', or leave it out"),
    "PREFIX": (str, "give a text that ends in a colon, as 'shop:', or leave it out"),
    "DATA_DIR": ((str, type(None)), "give str(path) of a directory, or leave it out"),
    "OUTBOX_EVERY": (timedelta, "give a timedelta, as timedelta(seconds=10)"),
}


def read() -> GreenroomSettings:
    """The project's settings.

    Raises:
        InvalidInput: naming the one that is unknown, or of another type.
    """
    given: Any = getattr(settings, "GREENROOM", {})
    if not isinstance(given, Mapping):
        remedy = "write GREENROOM = {'URL': 'valkey://cache.internal:6379'}"
        raise InvalidInput("GREENROOM", f"is {type_name(given)}, not a dict", remedy)
    for name, value in given.items():
        if name not in _TYPES:
            near = get_close_matches(str(name).upper(), _TYPES, 1)
            remedy = f"did you mean {near[0]!r}?" if near else f"use {', '.join(_TYPES)}"
            raise InvalidInput(f"GREENROOM[{name!r:.40}]", "is not a setting", remedy)
        types, remedy = _TYPES[name]
        if not isinstance(value, types):
            raise InvalidInput(f"GREENROOM[{name!r}]", f"is {type_name(value)}", remedy)
    read = GreenroomSettings(**{name.lower(): value for name, value in given.items()})
    if read.outbox_every < timedelta(0):
        raise InvalidInput("GREENROOM['OUTBOX_EVERY']", f"is {read.outbox_every}", "give zero or more; zero: never")
    if read.url is not None:
        Address.parse(read.url, field="GREENROOM['URL']")  # refuses what is none
    return read
