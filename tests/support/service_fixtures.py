"""Fixtures of `greenroom serve`: one for a file of tests, or as many as a test wants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.running_service import TOKEN, Serve, Service


@pytest.fixture(scope="module")
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`greenroom serve` with its sample, one for all tests of a file: each test makes the topics that it changes.

    A file may have settings of its own in `SERVE_ENV`.
    """
    env = {"GREENROOM_EDITOR_TOKEN": TOKEN} | getattr(request.module, "SERVE_ENV", {})
    service = Service(tmp_path_factory.mktemp("serve"), env=env).start()
    yield service
    service.stop()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts services in the test's directory with the tests' token, and ends them after the test, however it went."""
    with ExitStack() as stack:

        def started(
            *flags: str, home: str = ".", env: dict[str, str] | None = None, data_dir: Path | None = None
        ) -> Service:
            directory = tmp_path / home
            directory.mkdir(exist_ok=True)
            token = {"GREENROOM_EDITOR_TOKEN": TOKEN}
            service = Service(directory, *flags, env=token if env is None else env, data_dir=data_dir)
            stack.callback(service.kill)
            return service.start()

        yield started
