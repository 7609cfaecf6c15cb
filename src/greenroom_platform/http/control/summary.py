"""What `/control` shows: one answer with everything, each part of it bounded in time and told to be missing."""

from __future__ import annotations

from datetime import datetime

import msgspec

from greenroom_platform.domain.action_log import Action, QueuePause
from greenroom_platform.domain.heartbeats import Process
from greenroom_platform.http.control.history import Flow
from greenroom_platform.http.control.processes import Load
from greenroom_platform.http.control.servers import ServerView
from greenroom_platform.http.control.trouble import Trouble
from greenroom_platform.models import PodcastTask


class KeyspaceNow(msgspec.Struct, frozen=True, kw_only=True):
    """One keyspace: rates of the last minute, and what has happened in fifteen.

    Arguments:
        parts: the names of the parts that make a key, with what they may be.
        groups: patterns of the groups that its keys are in.
        lease_waits: waits for a load in another process.
        refused_fills: loads whose value was not stored, since a change came between.
        troubles: how often what went wrong, by kind; `broken`, `oversize` and others.
    """

    name: str
    title: str
    purpose: str
    pattern: str
    parts: dict[str, str]
    groups: tuple[str, ...]
    ttl_seconds: float
    fresh_seconds: float
    flow: Flow
    p50_ms: float | None
    p99_ms: float | None
    loads: int
    lease_waits: int
    refused_fills: int
    refreshes: int
    troubles: dict[str, int]


class NearNow(msgspec.Struct, frozen=True, kw_only=True):
    """What is near, in all processes of this service on this host."""

    processes: int
    entries: int
    bytes: int
    unsent_drops: int


class OutboxNow(msgspec.Struct, frozen=True, kw_only=True):
    """The changes that no server has acknowledged yet; `error` where the record does not tell."""

    pending: int = 0
    oldest_seconds: float | None = None
    error: str | None = None


class RecordingsNow(msgspec.Struct, frozen=True, kw_only=True):
    """The whole recordings that can be had, and what they may need together."""

    number: int
    bytes: int
    max_bytes: int
    max_age_days: float


class QueueNow(msgspec.Struct, frozen=True, kw_only=True):
    """The queue of podcasts, and those that have ended of late."""

    paused: QueuePause | None = None
    unfinished: int = 0
    most: int = 0
    oldest_seconds: float = 0.0
    attempts: int = 0
    tasks: tuple[PodcastTask, ...] = ()
    recordings: RecordingsNow | None = None
    controllable: bool = False
    error: str | None = None


class SessionsNow(msgspec.Struct, frozen=True, kw_only=True):
    """Active sessions and listeners, and the events of sessions per minute; `error` if the numbers are not known."""

    active: int | None = None
    listeners: int | None = None
    started_per_minute: float = 0.0
    ended_per_minute: float = 0.0
    refused_per_minute: float = 0.0
    error: str | None = None


class NodeTimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long a server took in the last minute, from a write on the wire to its last reply, of all workers.

    Arguments:
        writes: of one or many commands each.
    """

    node: str
    writes: int
    p50_ms: float | None
    p99_ms: float | None


class ProcessesNow(msgspec.Struct, frozen=True, kw_only=True):
    """The processes that are alive, on whichever host; `error` where nobody can tell."""

    alive: tuple[Process, ...] = ()
    error: str | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the page shows, but for the charts.

    Arguments:
        process: which process of the service answers.
        status: as of `/health/ready`.
        sentence: how it is, in one sentence.
    """

    at: datetime
    process: str
    status: str
    sentence: str
    troubles: tuple[Trouble, ...]
    flow: Flow
    keyspaces: tuple[KeyspaceNow, ...]
    near: NearNow
    loads: tuple[Load, ...]
    outbox: OutboxNow
    queue: QueueNow
    sessions: SessionsNow
    servers: tuple[ServerView, ...]
    node_times: tuple[NodeTimes, ...]
    processes: ProcessesNow
    actions: tuple[Action, ...]
    actions_error: str | None
