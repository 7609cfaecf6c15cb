"""`/control`: what operators do, with a reason each; for who has the editor token. All of it is in the action log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from greenroom.errors import EngineError
from greenroom.keyspace.parts import check_part
from greenroom.sessions import handle as handle_of
from greenroom_platform.domain.action_log import WHY_MAX, Action, QueuePause, named
from greenroom_platform.domain.task_control import QueueControl
from greenroom_platform.http import requests
from greenroom_platform.http.auth import editors_only, staff_of
from greenroom_platform.http.control.acting import act, cache_named, log_kept, parts_of, reason, user_named
from greenroom_platform.http.docs import EDITOR_SECURITY, described, taking
from greenroom_platform.http.problems import Problem, invalid
from greenroom_platform.http.state import ServiceState

_KEPT = "it is kept, and sent before this process reads there again; other processes may serve old values until then"

Why = Annotated[str, described(minLength=1, maxLength=WHY_MAX)]


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """The reason for an action; it is logged."""

    why: Why


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """The values to drop: a key, the group of a key, or all keys of a keyspace; by name, never by pattern.

    Arguments:
        parts: of the key, or of the group; none for a keyspace.
        group: the group's pattern, where `what` is a group.
    """

    what: Annotated[str, described(enum=["key", "group", "keyspace"])]
    keyspace: str
    parts: dict[str, str] = {}
    group: str = ""
    why: Why


class Cancel(msgspec.Struct, frozen=True, kw_only=True):
    """A load to cancel."""

    keyspace: str
    key: str
    why: Why


class EndSessions(msgspec.Struct, frozen=True, kw_only=True):
    """The sessions of a user to end: all, or one by its handle."""

    handle: str = ""
    why: Why


BODIES: list[type[msgspec.Struct]] = [Reason, Drop, Cancel, EndSessions]
"""The bodies of the calls below."""


def _call(
    path: str, body: type[msgspec.Struct], summary: str, *problems: str
) -> Callable[[Callable[..., Any]], HTTPRouteHandler]:
    return post(
        path,
        status_code=200,
        guards=[editors_only],
        security=EDITOR_SECURITY,
        operation_class=taking(body),
        problems=problems,
        summary=f"{summary} (editors)",
    )


@_call("/drops", Drop, "Drop cached values: a key, a group, a keyspace")
async def drop_cached(request: Request[Any, Any, Any], state: ServiceState) -> Response[Action]:
    """From the moment of the answer, all processes load again. 503 while a server has not acknowledged the drop."""
    wanted = requests.draft(Drop, await requests.members(request))
    cache = cache_named(state.control, wanted.keyspace)
    keyspace = cache.keyspace
    match wanted.what:
        case "key":
            parts = parts_of(keyspace, wanted.parts)
            target = f"{keyspace.name} {named(parts)}".strip()

            async def work() -> None:
                await cache.invalidate(**parts)

        case "group":
            pattern = next((one for one in cache.group_patterns if one.text == wanted.group), None)
            if pattern is None:
                known = ", ".join(one.text for one in cache.group_patterns) or "none"
                raise invalid("group", f"is not a group of {keyspace.name}", f"send one of its groups: {known}")
            parts = parts_of(keyspace, wanted.parts, pattern.names)
            target = pattern.key(**parts)

            async def work() -> None:
                await cache.invalidate_group(pattern.text, **parts)

        case "keyspace":
            if wanted.parts:
                raise invalid("parts", "a keyspace has none", "leave them out")
            target = keyspace.name

            async def work() -> None:
                await cache.drop_keyspace()

        case _:
            raise invalid("what", "cannot be dropped", "send key, group or keyspace")

    async def dropped() -> str:
        try:
            await work()
        except EngineError as error:
            raise Problem("unavailable", f"{error}: {_KEPT}", headers={"Retry-After": "1"}) from None
        return "dropped"

    return await _done(request, state, f"drop_{wanted.what}", target, wanted.why, dropped)


@_call("/loads/cancel", Cancel, "Cancel a load")
async def cancel_load(request: Request[Any, Any, Any], state: ServiceState) -> Response[Action]:
    """Callers that wait for the load get 503, and nothing is stored; the next request loads again.

    A query that the loader has sent to the database may go on there. Other processes of this service cancel the load
    within a second.
    """
    wanted = requests.draft(Cancel, await requests.members(request))
    pattern = cache_named(state.control, wanted.keyspace).keyspace.pattern
    if pattern.parse(wanted.key) is None:
        raise invalid("key", f"is not a key of {wanted.keyspace}", f"send one like {pattern.prefix}{pattern.text}")

    async def work() -> str:
        number = state.control.processes.cancel(wanted.keyspace, wanted.key)
        return f"{number} waited in {state.control.process}"

    return await _done(request, state, "cancel_load", wanted.key, wanted.why, work)


@_call("/outbox/send", Reason, "Send the outbox now")
async def send_outbox(request: Request[Any, Any, Any], state: ServiceState) -> Response[Action]:
    """Sends the waiting changes of all processes. A change that a server does not acknowledge stays in the outbox."""
    why = await _reason(request)

    async def work() -> str:
        number = await state.platform.outbox.send_pending()
        left = state.platform.outbox.unsent
        return f"sent {number}" + (f", {left} wait for their server" if left else "")

    return await _done(request, state, "send_outbox", "outbox", why, work)


@_call("/queue/pause", Reason, "Pause the queue of podcasts")
async def pause_queue(request: Request[Any, Any, Any], state: ServiceState) -> Response[Action]:
    """Within two seconds no worker on any host claims a podcast; podcasts under way are finished.

    The pause lasts until the queue is resumed, also across restarts.
    """
    why = reason(await _reason(request))
    staff, actions = await staff_of(request), log_kept(state)

    async def work() -> str:
        now = state.platform.room.clock.now()
        await actions.set_pause(QueuePause(since=now, who=staff.who, why=why))
        return "paused"

    return await _done(request, state, "pause_queue", "queue", why, work)


@_call("/queue/resume", Reason, "Resume the queue of podcasts")
async def resume_queue(request: Request[Any, Any, Any], state: ServiceState) -> Response[Action]:
    """Workers claim podcasts again within two seconds."""
    why, actions = await _reason(request), log_kept(state)

    async def work() -> str:
        await actions.set_pause(None)
        state.platform.generation.asked.set()
        return "resumed"

    return await _done(request, state, "resume_queue", "queue", why, work)


@_call("/podcasts/{podcast_id:str}/retry", Reason, "Retry a failed podcast", "conflict")
async def retry_podcast(
    request: Request[Any, Any, Any], state: ServiceState, podcast_id: FromPath[str]
) -> Response[Action]:
    """It is queued again under the same id, with all its attempts. 409 if it has not failed."""
    return await _on_task(request, state, podcast_id, "retry_podcast", "queued again", QueueControl.retry)


@_call("/podcasts/{podcast_id:str}/release", Reason, "Take a podcast from its worker", "conflict")
async def release_podcast(
    request: Request[Any, Any, Any], state: ServiceState, podcast_id: FromPath[str]
) -> Response[Action]:
    """Another worker, or the same one, may claim it at once; the attempt is not counted. 409 if no worker has it."""
    return await _on_task(request, state, podcast_id, "release_podcast", "given back", QueueControl.release)


@_call("/podcasts/{podcast_id:str}/stop", Reason, "Stop a podcast", "conflict")
async def stop_podcast(
    request: Request[Any, Any, Any], state: ServiceState, podcast_id: FromPath[str]
) -> Response[Action]:
    """Its worker stops, and listeners see that it failed. 409 if it has already ended."""
    return await _on_task(request, state, podcast_id, "stop_podcast", "failed for listeners", QueueControl.stop)


@_call("/podcasts/{podcast_id:str}/delete", Reason, "Delete a podcast")
async def delete_podcast(
    request: Request[Any, Any, Any], state: ServiceState, podcast_id: FromPath[str]
) -> Response[Action]:
    """The podcast is gone at once. Its recording stays for an hour, for those who are listening."""
    return await _on_task(request, state, podcast_id, "delete_podcast", "deleted", QueueControl.delete)


@_call("/users/{name:str}/sessions/end", EndSessions, "End the sessions of a user")
async def end_user_sessions(
    request: Request[Any, Any, Any], state: ServiceState, name: FromPath[str]
) -> Response[Action]:
    """Ends all of them, or one by its handle, and closes their sockets. The user is given by id or name."""
    wanted = requests.draft(EndSessions, await requests.members(request))
    user, sessions = await user_named(state, name), state.platform.sessions

    async def work() -> str:
        if not wanted.handle:
            number = await sessions.end_all(user.user_id)
            return f"ended {number}"
        for live in await sessions.of_user(user.user_id):
            if handle_of(live.session_id) == wanted.handle:
                await sessions.end(live.session_id)
                return "ended 1"
        raise Problem("not-found", "this user has no such session")

    return await _done(request, state, "end_sessions", f"{user.username} ({user.user_id})", wanted.why, work)


# ----------------------------------------------------------------------------------------------------


async def _reason(request: Request[Any, Any, Any]) -> str:
    return requests.draft(Reason, await requests.members(request)).why


async def _on_task(
    request: Request[Any, Any, Any],
    state: ServiceState,
    podcast_id: str,
    kind: str,
    outcome: str,
    change: Callable[[QueueControl, str], Awaitable[None]],
) -> Response[Action]:
    check_part("podcast_id", podcast_id)
    why, control = await _reason(request), state.platform.queue_control
    if control is None:
        raise Problem("not-installed", "the podcasts of this record cannot be changed")

    async def work() -> str:
        try:
            await change(control, podcast_id)
        except LookupError:
            raise Problem("not-found", f"there is no podcast {podcast_id}") from None
        return outcome

    return await _done(request, state, kind, podcast_id, why, work)


async def _done(
    request: Request[Any, Any, Any],
    state: ServiceState,
    kind: str,
    target: str,
    why: str,
    work: Callable[[], Awaitable[str]],
) -> Response[Action]:
    staff = await staff_of(request)
    action = await act(state, staff.who, kind, target, why, work)
    return Response(action, headers={"Cache-Control": "no-store"})


HANDLERS = [
    *(drop_cached, cancel_load, send_outbox, pause_queue, resume_queue),
    *(retry_podcast, release_podcast, stop_podcast, delete_podcast, end_user_sessions),
]
