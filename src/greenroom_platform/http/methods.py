"""The methods of a path, as `Allow` names them: in the answer to OPTIONS and in a 405."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from litestar import Request, Response
from litestar.routes import HTTPRoute


def allow(methods: Iterable[str]) -> str:
    """The value of `Allow`: HEAD is answered wherever GET is."""
    allowed = {str(method) for method in methods}
    return ", ".join(sorted(allowed | {"HEAD"} if "GET" in allowed else allowed))


async def answer_options(request: Request[Any, Any, Any]) -> Response[None] | None:
    """Answer OPTIONS; the framework's own answer knows only the first of a path's handlers."""
    if request.method != "OPTIONS":
        return None
    template = request.scope["path_template"]
    methods = [
        method
        for route in request.app.routes
        if isinstance(route, HTTPRoute) and route.path_format == template
        for method in route.methods
    ]
    return Response(None, status_code=204, headers={"Allow": allow(methods)})
