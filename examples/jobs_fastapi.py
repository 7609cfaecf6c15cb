"""Jobs in FastAPI, followed over events by their owners. Run: `uvicorn jobs_fastapi:app`; VALKEY_URL, or embedded."""

import os
from datetime import timedelta
from typing import Annotated

from fastapi import BackgroundTasks, Depends, FastAPI, Request, Response
from pydantic import BaseModel

from greenroom import Greenroom, Keyspace, SessionMiddleware
from greenroom.integrations.fastapi import CurrentRoom, CurrentSession, add_error_handlers, follow, lifespan
from greenroom.progress import Jobs, Order


class Export(BaseModel):
    status: str
    rows: int = 0


DATABASE: dict[int, Export] = {}  # stands for yours
EXPORT = Keyspace("export:{export_id}", Export, parts={"export_id": int}, ttl=timedelta(minutes=5))
ORDER = Order("queued", "running", "done", failure="failed")

app = FastAPI(lifespan=lifespan(lambda: Greenroom(os.environ.get("VALKEY_URL"))))  # made when the application starts
app.add_middleware(SessionMiddleware, sessions=lambda: app.state.greenroom)
add_error_handlers(app)


async def exports_of(room: CurrentRoom) -> Jobs[Export]:
    return room.progress(EXPORT, load=DATABASE.get, order=ORDER)  # the same jobs each time


Exports = Annotated[Jobs[Export], Depends(exports_of)]


async def work(exports: Jobs[Export], room: Greenroom, export_id: int) -> None:  # or another process, with its own room
    for export in (Export(status="running"), Export(status="done", rows=1000)):
        async with room.changing(exports.cache.of(export_id)):
            DATABASE[export_id] = export


@app.post("/log-in/{user}", status_code=204)
async def log_in(user: str, session: CurrentSession) -> None:  # check the password first
    await session.sign_in({"user_id": user})


@app.post("/exports", status_code=202)
async def begin(tasks: BackgroundTasks, room: CurrentRoom, exports: Exports, session: CurrentSession) -> int:
    await session.require()  # 401 without a session
    DATABASE[export_id := len(DATABASE) + 1] = Export(status="queued")
    tasks.add_task(work, exports, room, export_id)
    return export_id


@app.get("/exports/{export_id}")
async def progress(request: Request, export_id: int, exports: Exports) -> Response:
    return await follow(request, exports, export_id)  # an event each status; Last-Event-ID; 404 where there is no job
