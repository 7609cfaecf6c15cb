"""The routers of the service."""

from __future__ import annotations

from typing import Any

from litestar import Router


class OwnRouter(Router):
    """A router that is made for one application.

    The framework copies a router that is registered, as deep as it goes, since others may have it too: for those of the
    service that takes a third of what an application takes to be made.
    """

    def __deepcopy__(self, _: dict[int, Any]) -> OwnRouter:
        return self
