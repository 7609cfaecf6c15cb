"""Only progress: jobs of one's own, followed over events. Run: `uvicorn only_progress:app`; VALKEY_URL, or embedded."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from greenroom import Greenroom, Keyspace
from greenroom.progress import Order, ProgressEvents


class Export(msgspec.Struct, frozen=True):
    status: str
    rows: int = 0


DATABASE: dict[int, Export] = {}  # stands for yours


async def load(export_id: int) -> Export | None:
    return DATABASE.get(export_id)


EXPORT = Keyspace("export:{export_id}", Export, parts={"export_id": int}, ttl=timedelta(minutes=5))
room = Greenroom(os.environ.get("VALKEY_URL"), sessions=False)
exports = room.progress(EXPORT, load=load, order=Order("queued", "running", "done", failure="failed"))


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    async with room:
        yield


async def work(export_id: int) -> None:  # or a process of its own does it, with a room of its own
    for export in (Export("running"), Export("running", 500), Export("done", 1000)):
        async with room.changing(exports.cache.of(export_id)):
            DATABASE[export_id] = export


async def begin(request: Request) -> Response:
    DATABASE[export_id := len(DATABASE) + 1] = Export("queued")
    return JSONResponse({"events": f"/exports/{export_id}"}, 202, background=BackgroundTask(work, export_id))


async def follow(request: Request) -> Response | ProgressEvents[Export]:
    last = request.headers.get("last-event-id")  # a browser that comes back sends it
    return await exports.sse(request.path_params["id"], last_event_id=last) or Response(None, 404)


routes = [Route("/exports", begin, methods=["POST"]), Route("/exports/{id:int}", follow)]
app = Starlette(routes=routes, lifespan=lifespan)
