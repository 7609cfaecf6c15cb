"""Progress from RQ: `rq worker --worker-class greenroom.integrations.rq.RoomWorker --url $BROKER_URL`, then
`python -c "import jobs_rq; jobs_rq.main()"`; VALKEY_URL, and BROKER_URL."""

import os

from redis import Redis
from rq import Queue

from greenroom.integrations.rq import RqTasks
from greenroom.sync import Greenroom

queue = Queue(connection=Redis.from_url(os.environ.get("BROKER_URL", "redis://127.0.0.1:6379")))
room = Greenroom(os.environ.get("VALKEY_URL"), sessions=False)
tasks = RqTasks(room)


@tasks.job
def export(rows: int) -> dict[str, int]:
    if rows < 0:
        raise ValueError("no rows")
    for done in range(0, rows, 100):
        tasks.report(done, rows)
    return {"rows": rows}


def main() -> None:
    for rows in (300, -1):
        for status in tasks.follow(tasks.enqueue(queue, export, rows).id):  # also by another process
            print(status.status)
        print(status.result, status.error)
