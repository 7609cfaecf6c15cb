"""`greenroom doctor` of the platform: its record, its directory and its settings; each planted fault is found."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pymongo
import pytest

from greenroom.findings import Checked, carry_out
from greenroom_platform.cli.checks import LOW, VERY_LOW, checks, free_space, hard_links
from greenroom_platform.cli.exposure import FILES, exposure, few_files, token_strength
from greenroom_platform.http.settings import Settings
from greenroom_platform.platform import DATABASE_FILE, RECORDINGS
from greenroom_platform.storage import load_sample, open_records
from greenroom_platform.storage.mongodb import looking
from greenroom_platform.storage.mongodb.database import SNIPPETS
from tests.support.real_servers import free_port

STRONG = "Xq7m2pLw9vTz4rBn6sKd8fGh"


async def looked(directory: Path, **settings: object) -> dict[str, Checked]:
    """Every check of a service with this data directory."""
    chosen = Settings(data_dir=directory, editor_token=STRONG, **settings)  # type: ignore[arg-type]
    database = chosen.database_url or directory / DATABASE_FILE
    return {one.name: one for one in await carry_out(checks(chosen, database))}


def kinds(checked: dict[str, Checked]) -> set[str]:
    """What was found."""
    return {finding.kind for one in checked.values() for finding in one.findings}


@pytest.fixture
async def directory(tmp_path: Path) -> Path:
    """The data directory of a service that has run."""
    home = tmp_path / "data"
    home.mkdir(0o700)
    (home / RECORDINGS).mkdir(0o700)
    records = await open_records(home / DATABASE_FILE)
    await load_sample(records)
    for one in await records.pending():
        await records.acknowledge([one.change_id])
    await records.close()
    return home


async def test_nothing_is_found_where_all_is_well(directory: Path) -> None:
    checked = await looked(directory)
    assert kinds(checked) == set(), checked
    assert [name for name, one in checked.items() if one.left_out] == []


async def test_looking_makes_neither_directory_nor_record(tmp_path: Path) -> None:
    checked = await looked(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
    assert kinds(checked) == set()
    assert {name for name, one in checked.items() if one.left_out} == {
        *("record", "outbox", "data directory", "recordings")
    }


@pytest.mark.parametrize(
    ("statements", "kind"),
    [
        (["DROP TRIGGER snippets_deleted"], "record_untold"),
        (["PRAGMA user_version = 99"], "record_unknown"),
        (["DROP TABLE outbox"], "record_unknown"),
        (["UPDATE outbox SET committed = committed - 60"], "outbox_waits"),
        (["UPDATE outbox SET committed = committed - 3600"], "outbox_waits"),
    ],
)
async def test_a_record_that_is_not_as_it_should_be_is_found(directory: Path, statements: list[str], kind: str) -> None:
    with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
        triggers = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        if kind == "outbox_waits":
            connection.execute(
                'INSERT INTO outbox (committed, change) VALUES (unixepoch(), \'{"change_id": 0, "topics": ["a"]}\')'
            )
        for statement in statements:
            connection.execute(statement.replace("snippets_deleted", triggers[0]))
        connection.commit()
    assert kinds(await looked(directory)) == {kind}


async def test_a_file_that_is_no_database_is_found(directory: Path) -> None:
    (directory / DATABASE_FILE).write_bytes(b"no database" * 1000)
    for beside in ("-wal", "-shm"):
        (directory / f"{DATABASE_FILE}{beside}").unlink(missing_ok=True)
    assert kinds(await looked(directory)) == {"record_unreadable"}


async def test_a_record_of_an_older_version_is_left_as_it_is(directory: Path) -> None:
    with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
        connection.execute("PRAGMA user_version = 5")
        connection.commit()
    checked = await looked(directory)
    assert "the next start of a service" in str(checked["record"].left_out)
    with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (5,)


@pytest.mark.parametrize("name", [".", DATABASE_FILE])
async def test_what_others_may_read_is_found(directory: Path, name: str) -> None:
    (directory / name).chmod(0o755)
    assert kinds(await looked(directory)) == {"open_to_others"}


def test_a_directory_without_hard_links_or_room_is_found(tmp_path: Path) -> None:
    assert [one.kind for one in hard_links(Path("/proc"))] == ["no_hard_links"]
    assert hard_links(tmp_path) == ()
    assert list(tmp_path.iterdir()) == []
    for free, severities in ((LOW, []), (LOW - 1, ["warning"]), (VERY_LOW - 1, ["error"])):
        found = free_space(tmp_path, free)
        assert [(one.kind, one.severity) for one in found] == [("disk_full", severity) for severity in severities]


# On MongoDB -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind"), [(None, None), ("index", "no_index"), ("images", "no_images"), ("away", "record_unreachable")]
)
async def test_faults_of_a_record_on_mongodb_are_found(
    directory: Path, mongo_url: str, monkeypatch: pytest.MonkeyPatch, fault: str | None, kind: str | None
) -> None:
    records = await open_records(mongo_url)
    await records.close()
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(mongo_url)
    database = client.get_default_database()
    if fault == "index":
        database[SNIPPETS].drop_indexes()
    if fault == "images":
        database.command({"collMod": SNIPPETS, "changeStreamPreAndPostImages": {"enabled": False}})
    client.close()
    monkeypatch.setattr(looking, "_DEADLINE", 0.5 if fault == "away" else 5.0)
    url = f"mongodb://127.0.0.1:{free_port()}/away" if fault == "away" else mongo_url
    checked = await looked(directory, database_url=url, recordings_url=str(directory / RECORDINGS))
    assert kinds({"record": checked["record"]}) == ({kind} if kind else set())
    assert kinds({"recordings": checked["recordings"]}) == {"recordings_apart"}


# Settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, []),
        ({"host": "127.0.0.1", "allowed_hosts": ("localhost",)}, []),
        ({"host": "127.0.0.1", "allowed_hosts": ("pod.example.org",)}, ["cookies_insecure"]),
        ({"host": "127.0.0.1", "allowed_origins": ("https://pod.example.org",)}, ["cookies_insecure"]),
        ({"allowed_hosts": ("pod.example.org",), "trusted_proxies": ("127.0.0.1",)}, []),
        ({"host": "0.0.0.0"}, ["no_proxy", "any_host"]),
        ({"host": "0.0.0.0", "trusted_proxies": ("10.0.0.1",)}, ["any_host"]),
        ({"host": "0.0.0.0", "trusted_proxies": ("10.0.0.1",), "allowed_hosts": ("pod.example.org",)}, []),
        ({"trusted_proxies": ("0.0.0.0/0",)}, ["trusts_everybody"]),
    ],
)
def test_how_a_service_is_reached_is_judged(settings: dict[str, object], found: list[str]) -> None:
    assert [one.kind for one in exposure(Settings(**settings))] == found  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("token", "weak"),
    [("password12345678", True), ("aaaaaaaaaaaaaaaa", True), ("editor-token-123", True), (STRONG, False)],
)
def test_a_token_that_can_be_guessed_is_found(token: str, weak: bool) -> None:
    for whose in ("editor", "control"):
        found = token_strength(token, whose)
        assert [one.kind for one in found] == (["weak_token"] if weak else [])
        assert all(token not in one.what and f"{whose.upper()}_TOKEN" in one.mend for one in found)


def test_too_few_files_are_found() -> None:
    assert [one.kind for one in few_files(FILES - 1, 2)] == ["open_files"]
    assert few_files(FILES, 2) == few_files(-1, 2) == ()
