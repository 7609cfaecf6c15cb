"""Operating: metrics, traces, a hook, readiness. Run: `uvicorn operating:app`; VALKEY_URL, or a Valkey is embedded."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from greenroom import Greenroom, Keyspace
from greenroom.integrations.opentelemetry import instrument
from greenroom.integrations.problems import ProblemMiddleware
from greenroom.integrations.prometheus import collector
from greenroom.observe import CacheTrouble, Event


def hook(event: Event) -> None:  # runs in the event loop: never block here
    if isinstance(event, CacheTrouble):
        print("trouble:", event.keyspace, event.kind)


room = Greenroom(os.environ.get("VALKEY_URL"), sessions=False, on_event=hook)
registry = CollectorRegistry()
registry.register(collector(room))
instrument(room)  # spans and metrics go to the providers of the process, which are yours to set


@room.cached(Keyspace("price:{sku}", int, parts={"sku": int}, ttl=timedelta(minutes=30)))
async def price(sku: int) -> int | None:
    return 100 // (10 - sku)  # a loader that fails for one product


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    async with room:
        await room.ready(timedelta(seconds=10))  # a wrong password ends a first deployment here, with the remedy
        yield


async def ready(request: Request) -> Response:
    health = await room.health()
    return PlainTextResponse("\n".join(str(one.error or "ok") for one in health.servers), 200 if health.ok else 503)


async def metrics(request: Request) -> Response:
    return Response(generate_latest(registry), media_type="text/plain")


async def read(request: Request) -> Response:
    return PlainTextResponse(str(await price(request.path_params["sku"])))


routes = [Route("/ready", ready), Route("/metrics", metrics), Route("/prices/{sku:int}", read)]
app = Starlette(routes=routes, middleware=[Middleware(ProblemMiddleware)], lifespan=lifespan)
