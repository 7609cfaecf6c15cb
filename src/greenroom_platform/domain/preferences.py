"""A listener's preferences: what may be set, and which ones a sign-in goes on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from greenroom.errors import InvalidInput
from greenroom.keyspace.parts import check_part
from greenroom.keyspace.validation import field_and_reason
from greenroom_platform.models import Preferences

SPEED = (0.5, 3.0)
"""The slowest and the fastest playback."""
TOPICS_MAX = 100
"""Preferred topics."""

DEFAULTS: Mapping[str, Any] = msgspec.json.decode(msgspec.json.encode(Preferences()))
"""The preferences of a listener who has chosen none; a session always has both members."""
_REMEDY = {
    "preferred_topics": f"send an array of at most {TOPICS_MAX} ids of topics, or null for none",
    "playback_speed_default": "send a number from {} to {}, or null for 1.0".format(*SPEED),
}


def checked(patch: Mapping[str, Any]) -> dict[str, Any]:
    """A merge patch (RFC 7396) of preferences as it will be merged: null sets the default, since all are always there.

    Raises:
        InvalidInput: naming the member. That the topics exist is not checked here.
    """
    for name in patch:
        if name not in DEFAULTS:
            raise InvalidInput(name, "cannot be set as a preference", f"send {' or '.join(DEFAULTS)}")
    complete = {name: DEFAULTS[name] if value is None else value for name, value in patch.items()}
    try:
        requested = msgspec.convert(complete, Preferences)
    except msgspec.ValidationError as error:
        field, reason = field_and_reason(error)
        raise InvalidInput(field, reason, _REMEDY[field.partition("[")[0]]) from None
    if len(requested.preferred_topics) > TOPICS_MAX:
        reason = f"{len(requested.preferred_topics)} are too many"
        raise InvalidInput("preferred_topics", reason, _REMEDY["preferred_topics"])
    for position, topic in enumerate(requested.preferred_topics):
        check_part(f"preferred_topics[{position}]", topic)
    if not SPEED[0] <= requested.playback_speed_default <= SPEED[1]:
        reason = f"{requested.playback_speed_default:g} cannot be played"
        raise InvalidInput("playback_speed_default", reason, _REMEDY["playback_speed_default"])
    return complete


def chosen(visitor: Mapping[str, Any]) -> dict[str, Any]:
    """What the visitor of an anonymous session has chosen, which their user goes on with: whatever is no default."""
    return {name: value for name, value in visitor.items() if DEFAULTS.get(name, msgspec.UNSET) != value}
