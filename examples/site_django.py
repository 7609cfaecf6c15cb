"""Django in one file: `python site_django.py runserver --noreload`, then /s1/7?title=New. A Valkey: in VALKEY_URL."""

import os
import sys
from datetime import timedelta

import django
from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import connection, models
from django.http import HttpRequest, JsonResponse
from django.urls import path

from greenroom import Keyspace
from greenroom.integrations.django import cached, invalidates

settings.configure(
    SECRET_KEY="of an example",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["greenroom.integrations.django"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("DATABASE", "site.sqlite3")}},
    GREENROOM={"URL": os.environ.get("VALKEY_URL")},
    CACHES={"default": {"BACKEND": "greenroom.integrations.django.Cache"}},
    SESSION_ENGINE="greenroom.integrations.django.sessions",
)
django.setup()
from django.core.cache import cache  # noqa: E402


class Episode(models.Model):  # type: ignore[misc]
    show, number, title = models.CharField(max_length=40), models.IntegerField(), models.TextField()
    Meta = type("Meta", (), {"app_label": "site"})


TITLE = Keyspace("title:{show}:{number}", str, parts={"number": int}, ttl=timedelta(minutes=30))
invalidates(Episode, TITLE, lambda episode: {"show": episode.show, "number": episode.number})


@cached(TITLE)
def title(show: str, number: int) -> str | None:
    return getattr(Episode.objects.filter(show=show, number=number).first(), "title", None)


def page(request: HttpRequest, show: str, number: int) -> JsonResponse:
    if new := request.GET.get("title"):
        Episode.objects.update_or_create(show=show, number=number, defaults={"title": new})
    seen = request.session["seen"] = [*request.session.get("seen", ()), number]
    cache.add("visits", 0)
    return JsonResponse({"title": title(show, number), "seen": seen, "visits": cache.incr("visits")})


urlpatterns = [path("<slug:show>/<int:number>", page)]
if __name__ == "__main__":
    execute_from_command_line([sys.argv[0], "migrate", "--verbosity=0"])
    with connection.schema_editor() as editor:
        editor.create_model(Episode)
    execute_from_command_line(sys.argv)
