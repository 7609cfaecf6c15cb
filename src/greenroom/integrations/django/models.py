"""The outbox: what a transaction makes stale, written in it."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class OutboxRow(models.Model):  # type: ignore[misc]
    """One key, or one group of keys, that a change has made stale and that may not have been dropped yet."""

    key = models.TextField()
    is_group = models.BooleanField(default=False)
    lifetime_ms = models.BigIntegerField()
    """Milliseconds that a value of it can live at most."""
    written_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        app_label = "greenroom"
        verbose_name = "drop to be sent"
        verbose_name_plural = "drops to be sent"

    def __str__(self) -> str:
        return str(self.key)
