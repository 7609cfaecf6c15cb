"""What may name the user of a session."""

from __future__ import annotations

from typing import Any

from greenroom.errors import InvalidInput

USER_ID_MAX = 256
"""Characters of a user's id."""


def check_user_id(user_id: Any) -> str:
    """The id of a user.

    Raises:
        InvalidInput: when it is none.
    """
    if isinstance(user_id, str) and 1 <= len(user_id) <= USER_ID_MAX:
        return user_id
    shown = f"has {len(user_id)} characters" if isinstance(user_id, str) else f"is {type(user_id).__name__}"
    raise InvalidInput("user_id", shown, f"use a string of 1 to {USER_ID_MAX} characters; leave it out for nobody")
