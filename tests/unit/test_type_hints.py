"""The annotations of all public names can be evaluated, as frameworks that inject arguments do."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import greenroom
from greenroom import caching, keyspace, lazy, progress, sessions
from greenroom.integrations import opentelemetry, prometheus
from greenroom_platform import accounts, platform, storage, testing
from greenroom_platform import lazy as lazy_platform


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Classes and functions that a module offers."""
    named = getattr(module, "__all__", None)
    for name in named if named is not None else vars(module):
        value = getattr(module, name)
        if not inspect.isclass(value) and not inspect.isfunction(value):
            continue
        if named is not None or (value.__module__ == module.__name__ and not name.startswith("_")):
            yield f"{module.__name__}.{name}", value


def annotated(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A function; a class with all that it has of ours."""
    yield name, value
    for base in value.__mro__ if inspect.isclass(value) else ():
        for member, one in vars(base).items() if base.__module__.startswith("greenroom") else ():
            function = one.fget if isinstance(one, property) else inspect.unwrap(getattr(one, "__func__", one))
            if inspect.isfunction(function) and (not member.startswith("_") or member in ("__init__", "__call__")):
                yield f"{name}.{member}", function


MODULES = (
    greenroom,
    *(caching, keyspace, lazy, opentelemetry, progress, prometheus, sessions),
    *(accounts, lazy_platform, platform, storage, testing),
)
PUBLIC = dict(hint for module in MODULES for name in public(module) for hint in annotated(*name))


def test_all_public_names_are_looked_at() -> None:
    assert {"greenroom.Greenroom.sessions", "greenroom.Greenroom.cached", "greenroom.Cache.invalidate"} <= set(PUBLIC)
    assert {"greenroom.lazy.Sessions.start", "greenroom_platform.platform.Platform.accounts"} <= set(PUBLIC)


def test_the_annotations_of_every_public_name_can_be_evaluated() -> None:
    failed = {}
    for name, value in PUBLIC.items():
        try:
            typing.get_type_hints(value)
        except Exception as error:
            failed[name] = error
    assert not failed


def test_a_lazy_name_is_the_class_itself_and_others_are_none() -> None:
    assert typing.get_type_hints(greenroom.Greenroom.__init__)["sessions"] == greenroom.SessionSettings | bool
    assert set(lazy.__all__) == set(lazy.MODULES)
    for module in (lazy, lazy_platform):
        with pytest.raises(AttributeError, match="no attribute 'Sesions'"):
            _ = module.Sesions
