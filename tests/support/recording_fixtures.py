"""Fixtures of the stores of recordings: a directory, and a bucket of a real S3 server."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.made_recordings import Site, site_of
from tests.support.s3_server import BUCKET, CannotRun, S3Server, shared

STORES = "local", "s3"


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The S3 server of this test run."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    with ExitStack() as stack:
        try:
            server = stack.enter_context(shared(base / "s3"))
        except CannotRun as error:
            pytest.skip(str(error))
        yield server


@pytest.fixture
def s3_url(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place of its own on the server, which is reached by the environment."""
    for name, value in s3.environ.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{os.urandom(6).hex()}"


@pytest.fixture
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """A record, and a store of recordings beside it; on both kinds of store where a file says so."""
    kind = getattr(request, "param", "local")
    place = request.getfixturevalue("s3_url") if kind == "s3" else str(tmp_path / "recordings")
    async with site_of(tmp_path / "record.sqlite3", place) as site:
        yield site
