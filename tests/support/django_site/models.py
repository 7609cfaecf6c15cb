"""Episodes of shows, and what of them is cached."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
from django.db import models

from greenroom import Keyspace
from greenroom.integrations.django import cached, invalidates

MINUTES = timedelta(minutes=5)


class Episode(models.Model):  # type: ignore[misc]
    """An episode."""

    show = models.CharField(max_length=40)
    number = models.IntegerField()
    title = models.CharField(max_length=80)

    class Meta:
        app_label = "django_site"


class EpisodeView(msgspec.Struct, frozen=True):
    """What is cached of one."""

    show: str
    number: int
    title: str


EPISODE = Keyspace("episode:{show}:{number}", EpisodeView, parts={"number": int}, ttl=MINUTES)
LIST = Keyspace("episodes:{show}:{page}", list[int], parts={"page": int}, ttl=MINUTES)
loads: list[Any] = []


@cached(EPISODE)
def episode(show: str, number: int) -> EpisodeView | None:
    """An episode, from the database."""
    loads.append((show, number))
    row = Episode.objects.filter(show=show, number=number).first()
    return None if row is None else EpisodeView(row.show, row.number, row.title)


@cached(LIST, groups=["list:{show}"])
def page(show: str, page: int) -> list[int]:
    """Numbers of the episodes of a show."""
    return list(Episode.objects.filter(show=show).order_by("number").values_list("number", flat=True))


invalidates(Episode, EPISODE, lambda row: {"show": row.show, "number": row.number})
invalidates(Episode, LIST, lambda row: {"show": row.show}, group="list:{show}")
