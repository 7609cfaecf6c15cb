"""The routers of the service."""

from __future__ import annotations

from copy import copy
from typing import Any

from litestar import Router
from litestar.handlers.base import BaseRouteHandler
from litestar.routes import BaseRoute
from litestar.types import ControllerRouterHandler


def own_copy(handler: BaseRouteHandler) -> BaseRouteHandler:
    """A handler for one application."""
    # The framework keeps what it has read of a handler's signature. Kept at the handler, and not at each copy, that is
    # read once for all applications of a process and of its forks: it is a quarter of what an application takes.
    _ = handler.parsed_fn_signature
    return copy(handler)


class OwnRouter(Router):
    """A router that is made for one application.

    The framework copies a router that is registered, as deep as it goes, since others may have it too: for those of the
    service that takes a third of what an application takes to be made.
    """

    def register(self, value: ControllerRouterHandler) -> list[BaseRoute]:
        """As the framework's, of a handler's copy: the handler itself would hold this, and with it the application."""
        return super().register(own_copy(value) if isinstance(value, BaseRouteHandler) else value)

    def __deepcopy__(self, _: dict[int, Any]) -> OwnRouter:
        return self
