"""Every resource of the service: its routes, and what is sent to them."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Router
from litestar.types import ControllerRouterHandler

from greenroom_platform.domain.records import SnippetDraft, TopicDraft
from greenroom_platform.domain.task_records import PodcastRequest
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
    api = _Whole("/api/v1", route_handlers=[one.ROUTER for one in _API])
    return [api, *operations.HANDLERS, feeds.ROUTER, page.ROUTER]


class _Whole(Router):
    """A router that one application alone has. The framework copies others as deep as they go: several may have them.

    Each router that is registered on another is copied so, and here each of them is registered on one. To copy all of
    them again would take a fifth of what an application takes to be made.
    """

    def __deepcopy__(self, _: dict[int, Any]) -> _Whole:
        return self
