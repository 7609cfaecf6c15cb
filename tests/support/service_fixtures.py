"""Fixtures of `greenroom serve`: one for many files of tests, one for a file, or as many as a test wants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.running_service import CONTROL_TOKEN, TOKEN, Serve, Service


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The `greenroom serve` of all files that ask for no settings of their own."""
    service = _begun(tmp_path_factory, {}, hurried=False)
    yield service
    service.stop()


@pytest.fixture(scope="session")
def shared_hurried_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The same for files of which some stop its Valkey."""
    service = _begun(tmp_path_factory, {}, hurried=True)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`greenroom serve` with its sample, for tests that make the topics which they change.

    A file may have settings of its own in `SERVE_ENV`; then it has a service of its own too.
    """
    own = getattr(request.module, "SERVE_ENV", None)
    if own is None:
        yield request.getfixturevalue("shared_hurried_service" if _is_hurried(request) else "shared_service")
        return
    service = _begun(tmp_path_factory, own, hurried=_is_hurried(request))
    yield service
    service.stop()


def _is_hurried(request: pytest.FixtureRequest) -> bool:
    """Elsewhere tests stop, kill and cut off servers as they like."""
    return request.path.parent.name not in ("http", "e2e")


def _begun(directories: pytest.TempPathFactory, own: dict[str, str], *, hurried: bool) -> Service:
    env = {"GREENROOM_EDITOR_TOKEN": TOKEN, "GREENROOM_CONTROL_TOKEN": CONTROL_TOKEN} | own
    return Service(directories.mktemp("serve"), env=env, hurried=hurried).start()


@pytest.fixture
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serve]:
    """Starts services in the test's directory with the tests' token, and ends them after the test, however it went."""
    with ExitStack() as stack:

        def started(
            *flags: str,
            home: str = ".",
            env: dict[str, str] | None = None,
            data_dir: Path | None = None,
            executed: bool = False,
            hurried: bool = _is_hurried(request),
        ) -> Service:
            directory = tmp_path / home
            directory.mkdir(exist_ok=True)
            token = {"GREENROOM_EDITOR_TOKEN": TOKEN}
            service = Service(
                directory,
                *flags,
                env=token if env is None else env,
                data_dir=data_dir,
                executed=executed,
                hurried=hurried,
            )
            stack.callback(service.kill)
            return service.start()

        yield started
