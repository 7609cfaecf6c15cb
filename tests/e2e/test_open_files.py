"""`greenroom serve` takes as many connections as the machine gives its user, in each worker."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process_tree import ON_LINUX, workers
from tests.support.running_service import Serve

pytestmark = ON_LINUX


@pytest.fixture
def hard() -> Iterator[int]:
    """The hard limit of programs that inherit a low soft one."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, most))
    yield most
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))


def soft_limit(pid: int) -> str:
    (line,) = [
        line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max open files")
    ]
    return line.split()[3]


@pytest.mark.parametrize("count", [1, 2])
def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one(serve: Serve, hard: int, count: int) -> None:
    service = serve("--sample", "off", "--workers", str(count))
    pids = [service.process.pid, *(worker.pid for worker in workers(service.process.pid) if count > 1)]
    assert len(pids) >= count
    assert {soft_limit(pid) for pid in pids} == {str(hard)}
