"""The application: its system checks, and the thread that sends what other processes have left."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.core.signals import request_started


class GreenroomConfig(AppConfig):  # type: ignore[misc]
    """`INSTALLED_APPS = [..., "greenroom.integrations.django"]`."""

    name = "greenroom.integrations.django"
    label = "greenroom"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks, and look for what is left from each process's first request on."""
        from greenroom.integrations.django import system_checks
        from greenroom.integrations.django.outbox import begin_sending

        checks.register(system_checks.check_settings, "greenroom")
        checks.register(system_checks.check_servers, "greenroom", deploy=True)
        request_started.connect(begin_sending, dispatch_uid="greenroom")
