"""Sessions of several processes on one cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from greenroom.engine import Limits
from tests.support.asgi_server import sessions_on
from tests.support.cluster_slots import SOON
from tests.support.session_stores import Store
from tests.support.sessions_on_cluster import Process


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    """Opens the sessions of a process of the platform on a cluster, and closes them after the test."""
    async with AsyncExitStack() as stack:

        async def opened(cluster: Any, limits: Limits = SOON) -> Store:
            return await stack.enter_async_context(sessions_on(cluster.address, engine_limits=limits))

        yield opened
