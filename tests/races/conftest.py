"""What holds for all races: a call that a test holds does not end by its own deadline, and a proxy holds it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.patience import patience as patience
from tests.support.proxy import Proxy, proxy_of
from tests.support.real_servers import Server


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    """Stands before the server, or before the cluster."""
    async with proxy_of(server) as proxy:
        yield proxy
