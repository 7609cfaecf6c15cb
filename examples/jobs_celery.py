"""Progress from Celery: `celery -A jobs_celery worker`, then `python jobs_celery.py`; VALKEY_URL, and BROKER_URL."""

import os
from typing import Any

from celery import Celery

from greenroom.integrations.celery import connect
from greenroom.sync import Greenroom

app = Celery("jobs_celery", broker=os.environ.get("BROKER_URL", "redis://127.0.0.1:6379"))
room = Greenroom(os.environ.get("VALKEY_URL"), sessions=False)
tasks = connect(app, room)


@app.task(bind=True, base=tasks.base)  # type: ignore[untyped-decorator]
def export(self: Any, rows: int) -> dict[str, int]:
    if rows < 0:
        raise ValueError("no rows")
    for done in range(0, rows, 100):
        self.report(done, rows)
    return {"rows": rows}


if __name__ == "__main__":
    for rows in (300, -1):
        for status in tasks.follow(export.delay(rows).id):  # also in a web process, or by another one
            print(status.status)
        print(status.result, status.error)
