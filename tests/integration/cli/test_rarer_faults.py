"""What `greenroom doctor` finds that takes more to plant: broken disks, clusters, stores. No kind is forgotten."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import greenroom
from greenroom.acl import Holds
from greenroom.engine import Address
from greenroom.errors import EngineUnavailable
from greenroom.findings import Check, Finding, NotChecked, carry_out, exit_status
from greenroom.inspection.doctor import Doctor, Watched
from greenroom.inspection.server_settings import Told, persistence
from greenroom_platform.cli.checks import checks
from greenroom_platform.cli.declarations import DECLARATIONS
from greenroom_platform.http.settings import Settings
from greenroom_platform.storage.mongodb.looking import look_at_hello
from tests.support.real_cluster import Member
from tests.support.real_servers import free_port, valkey_binary

STRONG = "Xq7m2pLw9vTz4rBn6sKd8fGh"
WELL = {"role": "master", "aof_enabled": "1"}


@pytest.mark.parametrize("line", ["aof_last_write_status", "rdb_last_bgsave_status"])
def test_a_server_that_cannot_write_its_file_is_found(line: str) -> None:
    """The lines of INFO while its disk is full."""
    address = Address.parse("valkey://host")
    assert persistence(Told(address, Holds.SESSIONS, WELL | {line: "ok"})) == []
    (finding,) = persistence(Told(address, Holds.SESSIONS, WELL | {line: "err"}))
    assert (finding.kind, finding.severity) == ("cannot_persist", "error")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Member]:
    """A node of a cluster that has no slots yet."""
    node = Member(valkey_binary(), tmp_path, 60_000)
    try:
        node.start()
        yield node
    finally:
        node.kill()


@pytest.mark.parametrize("slots", [0, 100])
async def test_a_cluster_with_slots_of_nobody_is_found(node: Member, slots: int) -> None:
    if slots:
        node.ok("CLUSTER", "ADDSLOTSRANGE", 0, slots - 1)
    address = Address.parse(f"valkey+cluster://127.0.0.1:{node.port}")
    checked = await carry_out(Doctor(DECLARATIONS, "", [Watched(address, Holds.CACHES)]).checks()[:1])
    assert [one.kind for one in checked[0].findings] == ["cluster_not_whole"]


async def looked(directory: Path, name: str, **settings: object) -> list[str]:
    """What one check of a service finds."""
    chosen = Settings(data_dir=directory, editor_token=STRONG, **settings)  # type: ignore[arg-type]
    (check,) = [one for one in checks(chosen, directory / "record.sqlite3") if one.name == name]
    (checked,) = await carry_out([check])
    assert checked.left_out is None, checked
    return [one.kind for one in checked.findings]


async def test_a_bucket_that_does_not_answer_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}"),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "here"),
    ):
        monkeypatch.setenv(name, value)
    assert await looked(tmp_path, "recordings", recordings_url="s3://bucket/here") == ["recordings_unavailable"]


async def test_a_platform_without_voices_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert await looked(tmp_path, "voices") == ["no_voices"]


@pytest.mark.parametrize(
    ("hello", "found"),
    [
        ({"setName": "rs", "isWritablePrimary": True, "maxWireVersion": 21}, []),
        ({"isWritablePrimary": True, "maxWireVersion": 21}, ["record_refused"]),
        ({"setName": "rs", "isWritablePrimary": False, "maxWireVersion": 21}, ["record_refused"]),
        ({"setName": "rs", "isWritablePrimary": True, "maxWireVersion": 13}, ["record_refused"]),
        ({"setName": "rs", "isWritablePrimary": True, "maxWireVersion": 21, "localTime": 60}, ["clocks"]),
    ],
)
def test_a_mongodb_that_keeps_no_promises_is_found(hello: dict[str, object], found: list[str]) -> None:
    if "localTime" in hello:
        hello = hello | {"localTime": (datetime.now(UTC) + timedelta(minutes=1)).replace(tzinfo=None)}
    assert [one.kind for one in look_at_hello("mongodb://host/name", hello)] == found


async def test_a_check_that_fails_or_cannot_be_made_holds_up_no_other() -> None:
    async def fails() -> list[Finding]:
        raise EngineUnavailable("it went away")

    async def cannot() -> list[Finding]:
        raise NotChecked("nobody may ask")

    async def stands() -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def fine() -> list[Finding]:
        return []

    names = {"fails": fails, "cannot": cannot, "stands": stands, "fine": fine}
    checked = await carry_out([Check(name, look) for name, look in names.items()], deadline=0.05)
    found = [[finding.kind for finding in one.findings] for one in checked]
    assert found == [["not_answered"], [], ["not_answered"], []]
    assert [one.left_out for one in checked] == [None, "nobody may ask", None, None]
    assert exit_status(finding for one in checked for finding in one.findings) == 2


def test_every_kind_of_finding_is_planted_by_a_test() -> None:
    src = Path(greenroom.__file__).parent.parent
    files = [file for package in ("greenroom", "greenroom_platform") for file in (src / package).rglob("*.py")]
    code = [file.read_text("utf-8") for file in files]
    kinds = {kind for text in code for kind in re.findall(r"\b(?:warning|error|make)\(\s*\"([a-z_]+)\"", text)}
    assert len(kinds) >= 45
    tests = Path(__file__).parents[2]
    names = (
        "integration/cli/test_*.py",
        "unit/test_key_owners.py",
        "unit/test_control_counts.py",
        "e2e/test_operator_commands.py",
    )
    files = [file for name in names for file in tests.glob(name)]
    planted = "".join(file.read_text("utf-8") for file in files)
    assert {kind for kind in kinds if f'"{kind}"' not in planted} == set()
