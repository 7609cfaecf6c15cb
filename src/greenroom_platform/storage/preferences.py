"""What a user document keeps of preferences: of each the one that was set last."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from greenroom_platform.models import User


def merged(user: User, preferences: Mapping[str, Any], at: datetime) -> User | None:
    """The user with those that were set after what is kept; None where all that is kept is later."""
    kept = user.preferences if isinstance(user.preferences, dict) else {}
    times = user.preferences_set_at if isinstance(user.preferences_set_at, dict) else {}
    later = {name: value for name, value in preferences.items() if name not in times or times[name] < at}
    if not later:
        return None
    return msgspec.structs.replace(user, preferences=kept | later, preferences_set_at=times | dict.fromkeys(later, at))
