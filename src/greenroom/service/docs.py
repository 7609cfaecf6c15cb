"""`/docs`: the API's description and Swagger UI, every asset from an installed package."""

from __future__ import annotations

from pathlib import Path

import litestar_offline_docs
from litestar import Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.static_files import create_static_files_router

_ASSETS = "/docs/assets"
_NO_ICON = '<link rel="icon" href="data:,">'


def openapi() -> OpenAPIConfig:
    """The description of the API, served with its page at `/docs`."""
    return OpenAPIConfig(
        title="Greenroom",
        version="1",
        description="Topics and snippets of the podcast platform, served from its hot-data tier.",
        path="/docs",
        use_handler_docstrings=True,
        render_plugins=[
            SwaggerRenderPlugin(
                js_url=f"{_ASSETS}/swagger-ui-bundle.js",
                css_url=f"{_ASSETS}/swagger-ui.css",
                standalone_preset_js_url=f"{_ASSETS}/swagger-ui-standalone-preset.js",
                favicon=_NO_ICON,
                path="/",
            )
        ],
    )


def assets() -> Router:
    """The files that the page loads."""
    directory = Path(litestar_offline_docs.__file__).parent / "static"
    return create_static_files_router(_ASSETS, [directory], include_in_schema=False)
