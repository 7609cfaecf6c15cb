"""Whether a read is answered with 304: where `If-None-Match` names the current tag (RFC 9110, 13.1.2).

Near hits that are answered before the router ask `matches` themselves (`near_answers`): they look at each header once.
"""

from __future__ import annotations

from typing import Any

from litestar import Request

from greenroom.integrations.conditional import matches
from greenroom_platform.http.handler_words import mentions


@mentions("If-None-Match")
def is_not_modified(request: Request[Any, Any, Any], tag: str) -> bool:
    """Whether the caller already has the answer with this tag.

    The headers are looked at as they came: the framework's own view of them costs more than the rest of a near hit.
    """
    tags = [value.decode("latin-1") for name, value in request.scope["headers"] if name == b"if-none-match"]
    return bool(tags) and matches(tags, tag)
