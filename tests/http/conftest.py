"""A worker moved by hand beside the file's service."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.running_service import Service
from tests.support.stream_listeners import Studio, studio_of


@pytest.fixture
async def studio(service: Service) -> AsyncIterator[Studio]:
    """A worker made by hand beside that service."""
    async with studio_of(service) as studio:
        yield studio
