"""The project of these tests in this process: one room, on one server that is emptied before each test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import django
import pytest
from django.core.management import call_command
from django.db import connections

from greenroom.integrations.django import rooms
from greenroom.sync import Greenroom
from tests.support.kept_servers import KeptServers
from tests.support.real_servers import Raw, Server, valkey_binary


@pytest.fixture(scope="session")
def project(kept: KeptServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Django, set up, with the tables of its database; its room's server."""
    with kept.lent(valkey_binary()) as server:
        os.environ["VALKEY_URL"] = server.address
        os.environ["SITE_DATABASE"] = str(tmp_path_factory.mktemp("django") / "site.sqlite3")
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.support.django_site.settings"
        django.setup()
        call_command("migrate", run_syncdb=True, verbosity=0)
        rooms.room().ready()  # here: opened by a test, it would have the times of that test for all that follow
        yield server
        rooms.room().close()
        connections.close_all()


@pytest.fixture(scope="session")
def ask(project: Server) -> Iterator[Raw]:
    """Asks the project's server, past its room."""
    raw = project.raw()
    yield raw
    raw.close()


@pytest.fixture
def room(project: Server, ask: Raw) -> Greenroom:
    """The room of the process, on an empty server."""
    from greenroom.integrations.django.models import OutboxRow
    from tests.support.django_site.models import Episode, loads

    ask("FLUSHALL")
    rooms.room().forget_near()
    for model in (Episode, OutboxRow):
        model.objects.all().delete()
    loads.clear()
    return rooms.room()
