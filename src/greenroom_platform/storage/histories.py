"""A user with another history, for every record."""

from __future__ import annotations

import msgspec

from greenroom_platform.domain.records import EditHistory
from greenroom_platform.models import User


def with_history(user: User, edit: EditHistory) -> User:
    """The user with the history that `edit` makes of theirs; the same object where it is as it was."""
    before = user.history if isinstance(user.history, tuple) else ()
    after = edit(before)
    return user if after == before else msgspec.structs.replace(user, history=after)
