"""A deployment's server for the tests of the commands that look: one for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.operated import Operated
from tests.support.real_servers import valkey_binary


@pytest.fixture(scope="session")
def operated_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    """The server, which every test leaves set as it was."""
    operated = Operated(valkey_binary(), tmp_path_factory.mktemp("operated"))
    try:
        operated.start()
        yield operated
    finally:
        operated.stop()


@pytest.fixture
def operated(operated_server: Operated) -> Operated:
    """The server, empty."""
    operated_server.fresh()
    return operated_server
