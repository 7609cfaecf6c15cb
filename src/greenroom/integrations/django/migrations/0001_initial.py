"""The outbox's table."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]
    """Creates it."""

    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="OutboxRow",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.TextField()),
                ("is_group", models.BooleanField(default=False)),
                ("lifetime_ms", models.BigIntegerField()),
                ("written_at", models.DateTimeField(db_index=True, default=django.utils.timezone.now)),
            ],
            options={"verbose_name": "drop to be sent", "verbose_name_plural": "drops to be sent"},
        ),
    )
