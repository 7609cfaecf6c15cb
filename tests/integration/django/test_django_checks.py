"""What `manage.py check` says of the settings."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings

from greenroom.errors import InvalidInput
from greenroom.integrations.django import settings, system_checks
from tests.support.real_servers import free_port

pytestmark = pytest.mark.usefixtures("room")
BACKEND = "greenroom.integrations.django.Cache"


def test_a_good_project_passes_all_checks(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("check", tags=["greenroom"], deploy=True, fail_level="WARNING")
    call_command("makemigrations", "greenroom", check=True, verbosity=0)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("valkey://here", "GREENROOM: is str, not a dict"),
        ({"URI": "valkey://here"}, r"GREENROOM\['URI'\]: is not a setting; did you mean 'URL'"),
        ({"url": "valkey://here"}, "did you mean 'URL'"),
        ({"URL": 7}, r"GREENROOM\['URL'\]: is int; give an address"),
        ({"OUTBOX_EVERY": 7}, r"GREENROOM\['OUTBOX_EVERY'\]: is int; give a timedelta"),
        ({"OUTBOX_EVERY": timedelta(-1)}, "give zero or more"),
    ],
)
def test_wrong_settings_are_named_with_their_remedy(given: Any, error: str) -> None:
    with override_settings(GREENROOM=given):
        with pytest.raises(InvalidInput, match=error):
            settings.read()
        with pytest.raises(SystemCheckError, match=r"greenroom\.E001"):
            call_command("check", tags=["greenroom"])


@pytest.mark.parametrize(
    ("options", "id_"),
    [
        ({"GREENROOM": {"URL": "http://here"}}, "E001"),
        ({"GREENROOM": {"PREFIX": "a{b"}}, "E001"),
        ({"SESSION_SERIALIZER": "shop.PickleSerializer"}, "E002"),
        ({"CACHES": {"default": {"BACKEND": BACKEND, "OPTIONS": {"pikcle": True}}}}, "E005"),
        ({"CACHES": {"default": {"BACKEND": BACKEND, "LOCATION": "a b"}}}, "E005"),
        ({"CACHES": {"default": {"BACKEND": BACKEND}, "b": {"BACKEND": BACKEND, "OPTIONS": {"limit": 5}}}}, "E006"),
        ({"DATABASES": {"default": {"ATOMIC_REQUESTS": True}}}, "W003"),
    ],
)
def test_each_check_finds_its_fault(options: dict[str, Any], id_: str) -> None:
    with override_settings(**{name: value for name, value in options.items() if name != "DATABASES"}):
        if "DATABASES" in options:
            from django.conf import settings as project

            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(project.DATABASES["default"], "ATOMIC_REQUESTS", True)
                found = system_checks.check_settings(None)
        else:
            # All checks of Django too: its own ask for each cache.
            found = [one for one in checks.run_checks() if str(one.id).startswith("greenroom.")]
    assert [one.id for one in found] == [f"greenroom.{id_}"]


def test_a_server_that_does_not_answer_is_found_when_deploying(monkeypatch: pytest.MonkeyPatch) -> None:
    from greenroom.integrations.django import rooms
    from greenroom.sync import Greenroom

    with Greenroom(f"valkey://127.0.0.1:{free_port()}") as away:
        monkeypatch.setattr(rooms, "room", lambda: away)
        (found,) = system_checks.check_servers(None)
    assert found.id == "greenroom.E004"
    assert "127.0.0.1" in found.msg
