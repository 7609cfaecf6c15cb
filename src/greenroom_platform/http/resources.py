"""Every resource of the service: its routes, and what is sent to them."""

from __future__ import annotations

import msgspec
from litestar.types import ControllerRouterHandler

from greenroom_platform.domain.records import SnippetDraft, TopicDraft
from greenroom_platform.domain.task_records import PodcastRequest
from greenroom_platform.http.router import OwnRouter, own_copy
from greenroom_platform.http.routes import (
    account,
    activity,
    bulk,
    control,
    control_actions,
    feeds,
    history,
    listings,
    operations,
    page,
    podcasts,
    preferences,
    search,
    session,
    sign_in,
    site,
    snippets,
    staff,
    stream,
    topics,
    users,
)

_API = (
    *(topics, snippets, users, sign_in, session, preferences, activity, podcasts, stream, staff, bulk, control),
    *(search, history, listings, account, site),
)
DRAFTS: list[type[msgspec.Struct]] = [
    TopicDraft,
    SnippetDraft,
    users.NewUser,
    sign_in.Credentials,
    sign_in.NewPassword,
    staff.StaffCredentials,
    *control_actions.BODIES,
    preferences.PreferencesPatch,
    PodcastRequest,
    history.Listened,
    history.History,
    account.AccountDeletion,
]
"""The bodies that handlers read themselves, unseen by the framework."""


def resources() -> list[ControllerRouterHandler]:
    """The routes, for one application."""
    api = OwnRouter("/api/v1", route_handlers=[one.new_router() for one in _API])
    return [api, *map(own_copy, operations.HANDLERS), feeds.new_router(), page.new_router()]
