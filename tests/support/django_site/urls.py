"""Its pages, as a browser asks for them."""

from __future__ import annotations

import os
from typing import Any

from django.contrib.auth import authenticate, login, logout
from django.core.cache import cache
from django.http import HttpRequest, JsonResponse
from django.urls import path

from greenroom.integrations.django import end_all
from tests.support.django_site.models import Episode, episode


def read(request: HttpRequest) -> Any:
    """What the session holds."""
    return JsonResponse({"pid": os.getpid(), "session": dict(request.session.items())})


def put(request: HttpRequest, name: str) -> Any:
    """Set one key of the session; with `held`, only when the test says so."""
    request.session.get(name)
    if held := request.GET.get("held"):
        with open(f"{held}.loaded", "w") as told:
            told.write("loaded")
        with open(f"{held}.go") as go:
            go.read()
    request.session[name] = request.GET["value"]
    return JsonResponse({"pid": os.getpid()})


def sign_in(request: HttpRequest) -> Any:
    """Log in."""
    user = authenticate(request, username=request.GET["name"], password="secret")
    login(request, user)
    return JsonResponse({})


def sign_out(request: HttpRequest) -> Any:
    """Log out."""
    logout(request)
    return JsonResponse({})


def sign_out_others(request: HttpRequest) -> Any:
    """End all sessions of the user but this one."""
    end_all(request.user, but=request.session)
    return JsonResponse({})


def whoami(request: HttpRequest) -> Any:
    """Who is signed in."""
    return JsonResponse({"user": request.user.get_username()})


def count(request: HttpRequest) -> Any:
    """Count in the cache."""
    cache.add("hits", 0, None)
    return JsonResponse({"hits": cache.incr("hits"), "pid": os.getpid()})


def show(request: HttpRequest, show: str, number: int) -> Any:
    """An episode, through its cache."""
    found = episode(show, number)
    return JsonResponse({"title": None if found is None else found.title, "pid": os.getpid()})


def rename(request: HttpRequest, show: str, number: int) -> Any:
    """Change an episode."""
    row, _ = Episode.objects.get_or_create(show=show, number=number)
    row.title = request.GET["title"]
    row.save()
    return JsonResponse({"pid": os.getpid()})


async def aread(request: HttpRequest) -> Any:
    """What the session and the cache hold, asynchronously."""
    await request.session.aset("seen", "here")
    await cache.aset("k", [1, 2])
    return JsonResponse({"cached": await cache.aget("k"), "seen": await request.session.aget("seen")})


urlpatterns = [
    path("session", read),
    path("session/<str:name>", put),
    path("sign-in", sign_in),
    path("sign-out", sign_out),
    path("sign-out-others", sign_out_others),
    path("whoami", whoami),
    path("count", count),
    path("async", aread),
    path("<str:show>/<int:number>", show),
    path("<str:show>/<int:number>/rename", rename),
]
