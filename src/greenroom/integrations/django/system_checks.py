"""What `manage.py check` says of Greenroom; with `--deploy` it asks the servers too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings as django_settings
from django.core import checks
from django.core.cache import caches

from greenroom.errors import GreenroomError, InvalidInput
from greenroom.integrations.django import rooms
from greenroom.integrations.django.cache_settings import CacheSettings

_ENGINE = "greenroom.integrations.django.sessions"
_JSON = "django.contrib.sessions.serializers.JSONSerializer"


def check_settings(app_configs: Sequence[Any] | None, **_: object) -> list[checks.CheckMessage]:
    """The settings: asks no server."""
    found: list[checks.CheckMessage] = []
    try:
        rooms.new()
    except InvalidInput as error:
        found.append(checks.Error(f"{error.field}: {error.reason}.", hint=_sentence(error.remedy), id="greenroom.E001"))
    if django_settings.SESSION_ENGINE == _ENGINE and django_settings.SESSION_SERIALIZER != _JSON:
        message = "The sessions of Greenroom are JSON, and SESSION_SERIALIZER is not used."
        found.append(checks.Error(message, hint=f"Leave it out, or set {_JSON!r}.", id="greenroom.E002"))
    found += _caches()
    for alias, database in django_settings.DATABASES.items():
        if database.get("ATOMIC_REQUESTS"):
            message = (
                f"DATABASES[{alias!r}] has ATOMIC_REQUESTS: what a view loads inside its transaction is not cached."
            )
            hint = "Decorate views that only read with django.db.transaction.non_atomic_requests."
            found.append(checks.Warning(message, hint=hint, id="greenroom.W003"))
    return found


def check_servers(app_configs: Sequence[Any] | None, **_: object) -> list[checks.CheckMessage]:
    """Whether the server answers."""
    try:
        health = rooms.room().health()
    except InvalidInput:
        return []  # `check_settings` tells it
    except GreenroomError as error:
        return [checks.Error(f"The server cannot be asked: {error}.", id="greenroom.E004")]
    if health.ok:
        return []
    return [checks.Error(f"The server cannot be used: {health}.", id="greenroom.E004")]


def _caches() -> list[checks.CheckMessage]:
    from greenroom.integrations.django.cache import GreenroomCache

    found: list[checks.CheckMessage] = []
    known: dict[str, CacheSettings] = {}
    for alias in django_settings.CACHES:
        cache = caches[alias]
        if not isinstance(cache, GreenroomCache):
            continue
        try:
            read = cache.settings
        except InvalidInput as error:
            message = f"CACHES[{alias!r}], {error.field}: {error.reason}."
            found.append(checks.Error(message, hint=_sentence(error.remedy), id="greenroom.E005"))
            continue
        for other, settings in known.items():
            if names := settings.differences(read):
                message = f"CACHES[{alias!r}] has the LOCATION of CACHES[{other!r}] and another {' and '.join(names)}."
                hint = "Give both the same OPTIONS, or one of them another LOCATION."
                found.append(checks.Error(message, hint=hint, id="greenroom.E006"))
        known[alias] = read
    return found


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
