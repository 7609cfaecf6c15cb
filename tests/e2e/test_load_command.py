"""`greenroom load`: what it takes, what it reports, and what readers see of it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import threading
from contextlib import closing
from pathlib import Path
from typing import IO, Any

from tests.support.patience import wait_for
from tests.support.process_tree import ON_LINUX, servers
from tests.support.real_servers import Raw, Server
from tests.support.running_service import API, PROGRAM, Serve, command, environment, refusal

TOPIC = {
    "topic_id": "night",
    "display_name": "Night Radio",
    "description": "Voices after midnight.",
    "keywords": ["radio"],
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
}
SNIPPET = {
    "snippet_id": "static",
    "topic_id": "night",
    "title": "Static",
    "text_content": "Between two stations there is a third.",
    "generation_timestamp": "2026-01-02T00:00:00Z",
}


def untimed(members: dict[str, Any]) -> dict[str, Any]:
    """The members without the times."""
    return {name: value for name, value in members.items() if not name.endswith(("_at", "_timestamp"))}


def ndjson(*values: Any) -> str:
    return "".join((value if isinstance(value, str) else json.dumps(value)) + "\n" for value in values)


def stored(data_dir: Path, table: str) -> set[str]:
    """The ids in the record, read past the program."""
    with closing(sqlite3.connect(data_dir / "greenroom.sqlite3")) as connection:
        column = {"topics": "topic_id", "snippets": "snippet_id", "outbox": "change_id"}[table]
        return {str(row[0]) for row in connection.execute(f"SELECT {column} FROM {table}")}  # noqa: S608


# What it takes and reports --------------------------------------------------------------------------


def test_files_and_standard_input_are_loaded_together_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "one.ndjson").write_text(ndjson(SNIPPET))
    (tmp_path / "two.ndjson").write_text(ndjson(SNIPPET | {"snippet_id": "hiss", "topic_id": "day"}))
    topics = ndjson(TOPIC, TOPIC | {"topic_id": "day"})
    files = [tmp_path / "one.ndjson", "-", tmp_path / "two.ndjson"]
    run = command("load", "--data-dir", tmp_path / "data", *files, stdin=topics)
    assert (run.returncode, run.stdout) == (0, "")
    assert (
        run.stderr.splitlines()[-1]
        == f"Loaded 2 topics and 2 snippets into {tmp_path / 'data' / 'greenroom.sqlite3'}; 0 lines rejected."
    )
    assert stored(tmp_path / "data", "topics") == {"night", "day"}
    assert stored(tmp_path / "data", "snippets") == {"static", "hiss"}


def test_bad_lines_are_reported_by_file_and_number_and_cost_no_good_one(tmp_path: Path) -> None:
    file = tmp_path / "lines.ndjson"
    lost = SNIPPET | {"snippet_id": "lost", "topic_id": "nowhere"}
    file.write_text(ndjson(TOPIC, "{not json", SNIPPET | {"snippet_id": "a:b"}, SNIPPET, lost, TOPIC | {"extra": 1}))
    run = command("load", "--data-dir", tmp_path / "data", file)
    assert run.returncode == 1
    reported = [line for line in run.stderr.splitlines() if line.startswith(f"{file}:")]
    assert [line.removeprefix(f"{file}:").split(": ")[:2] for line in reported] == [
        ["2", "line"],
        ["3", "snippet_id"],
        ["6", "extra"],
        ["5", "topic_id"],
    ]
    assert (
        run.stderr.splitlines()[-1]
        == f"Loaded 1 topic and 1 snippet into {tmp_path / 'data' / 'greenroom.sqlite3'}; 4 lines rejected."
    )
    assert stored(tmp_path / "data", "snippets") == {"static"}


def test_bad_lines_are_written_as_they_come_and_a_hundred_at_most(tmp_path: Path) -> None:
    arguments = [str(PROGRAM), "load", "--log-level", "error", "--data-dir", str(tmp_path), "-"]
    is_told = threading.Event()

    def feed(stdin: IO[bytes]) -> None:
        # More than one transaction's worth, since standard input is read ahead; its end does not come before the line.
        stdin.write(b"{not json\n" * 10_000)
        stdin.flush()
        is_told.wait(60)
        stdin.close()

    with subprocess.Popen(arguments, env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE) as load:
        assert load.stderr is not None
        # Beside the reader: whoever says more than a pipe holds would else wait for it, and it for whoever feeds.
        feeder = threading.Thread(target=feed, args=(load.stdin,), daemon=True)
        feeder.start()
        assert load.stderr.readline().startswith(b"loading into ")
        assert load.stderr.readline().startswith(b"-:1: line: is not JSON")
        is_told.set()
        said = load.stderr.read().decode().splitlines()
        feeder.join()
    assert load.returncode == 1
    assert [line.split(":")[:2] for line in said[:99]] == [["-", str(number)] for number in range(2, 101)]
    assert said[99:] == [
        "100 bad lines were written; further ones are only counted",
        f"Loaded 0 topics and 0 snippets into {tmp_path / 'greenroom.sqlite3'}; 10,000 lines rejected.",
    ]


def test_lines_without_times_are_loaded_and_missing_members_named_at_once(tmp_path: Path) -> None:
    lines = ndjson({"topic_id": "new", "display_name": "New"}, untimed(TOPIC), untimed(SNIPPET))
    run = command("load", "--data-dir", tmp_path, "-", stdin=lines)
    assert run.returncode == 1
    assert "-:1: description, keywords: are missing; see the topic in `greenroom load -h`" in run.stderr.splitlines()
    assert stored(tmp_path, "topics") == {"night"}
    assert stored(tmp_path, "snippets") == {"static"}


def test_the_lines_that_its_help_shows_can_be_loaded(tmp_path: Path) -> None:
    shown = command("load", "-h", env={"COLUMNS": "80"}).stdout
    lines = [line.strip() for line in shown.splitlines() if line.strip().startswith("{")]
    run = command("load", "--data-dir", tmp_path, "-", stdin="\n".join(lines))
    assert run.stderr.splitlines()[-1].startswith("Loaded 1 topic and 1 snippet into "), run.stderr


def test_a_load_of_one_topic_drops_its_pages_once(tmp_path: Path, valkey: Server) -> None:
    """Ten transactions, each of which makes all the topic's pages stale."""
    file = tmp_path / "lines.ndjson"
    file.write_text(ndjson(TOPIC, *(SNIPPET | {"snippet_id": f"s{number}"} for number in range(5000))))
    raw = valkey.raw()
    assert command("load", "--data-dir", tmp_path / "data", "--valkey-url", valkey.address, file).returncode == 0
    stats = raw("INFO", "commandstats").decode()
    deleted = int(stats.partition("cmdstat_del:calls=")[2].partition(",")[0])
    # Three for each batch of 250: the topic, the list, 5,000 snippets, 251 pages; and what was older than a second
    # meanwhile by its own sender. The pages ten times would be 30 more.
    assert 3 * 22 <= deleted < 3 * 30
    assert stored(tmp_path / "data", "outbox") == set()


def test_loading_the_same_again_changes_nothing(tmp_path: Path) -> None:
    def load() -> tuple[int, list[tuple[Any, ...]]]:
        run = command("load", "--data-dir", tmp_path, "-", stdin=ndjson(TOPIC, SNIPPET))
        with closing(sqlite3.connect(tmp_path / "greenroom.sqlite3")) as connection:
            return run.returncode, connection.execute("SELECT * FROM topics, snippets").fetchall()

    first = load()
    assert (first[0], len(first[1])) == (0, 1)
    assert load() == first


def test_a_missing_file_is_named_and_nothing_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "here.ndjson").write_text(ndjson(TOPIC))
    flags = ["--data-dir", tmp_path / "data"]
    line = refusal(command("load", *flags, tmp_path / "here.ndjson", tmp_path / "gone.ndjson"))
    assert line.startswith(f"greenroom: FILE: {tmp_path / 'gone.ndjson'} cannot be read: No such file")
    line = refusal(command("load", *flags, tmp_path))
    assert line.startswith(f"greenroom: FILE: {tmp_path} cannot be read: Is a directory")
    assert not (tmp_path / "data").exists()


def test_no_name_of_a_file_moves_the_cursor(tmp_path: Path) -> None:
    record = f"sqlite:{tmp_path}/record\x1b[2J.sqlite3"
    bad = tmp_path / "bad\x1b[2J.ndjson"
    bad.write_text(ndjson("[]"))
    run = command("load", "--database-url", record, bad)
    assert run.returncode == 1
    assert run.stderr.count(r"\x1b[2J") >= 2, run.stderr
    assert "\x1b" not in run.stdout + run.stderr
    assert r"\x1b[2J" in refusal(command("load", "--database-url", record, tmp_path / "none\x1b[2J"))


def test_without_a_file_it_asks_for_one() -> None:
    run = command("load", "--data-dir", "any")
    assert run.returncode == 2
    assert "FILE..." in run.stderr


def test_a_directory_that_nobody_named_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "topics.ndjson").write_text(ndjson(TOPIC))
    line = [str(PROGRAM), "load", "topics.ndjson"]

    def load(env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            line, cwd=tmp_path, env=environment(env), capture_output=True, text=True, check=False, timeout=60
        )

    refused = load()
    assert refused.returncode == 1
    assert refused.stderr == (
        f"greenroom: --data-dir: there is no greenroom-data in {tmp_path}; "
        "name the data directory of the service with --data-dir or --database-url\n"
    )
    assert [one.name for one in tmp_path.iterdir()] == ["topics.ndjson"]
    named = load({"GREENROOM_DATA_DIR": "greenroom-data"})
    assert named.returncode == 0, named.stderr
    assert "loading into greenroom-data/greenroom.sqlite3" in named.stderr.splitlines()
    again = load()  # it is there now
    assert again.stderr.splitlines()[-1].startswith("Loaded 1 topic and 0 snippets into greenroom-data/")


def test_a_record_that_is_named_alone_makes_no_directory(tmp_path: Path) -> None:
    (tmp_path / "topics.ndjson").write_text(ndjson(TOPIC))
    line = [str(PROGRAM), "load", "--database-url", "sqlite:greenroom.sqlite3", "topics.ndjson"]
    run = subprocess.run(line, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    assert "no server of the caches is named" in run.stderr
    assert {one.name for one in tmp_path.iterdir() if not one.name.startswith("greenroom.sqlite3")} == {"topics.ndjson"}
    assert stored(tmp_path, "outbox"), "the change waits for a process that knows the caches"


@ON_LINUX
def test_it_leaves_no_process_behind(tmp_path: Path) -> None:
    assert command("load", "--data-dir", tmp_path, "-", stdin=ndjson(TOPIC)).returncode == 0
    assert not servers(tmp_path)
    assert (tmp_path / "valkey-aof").is_dir(), "an embedded server was there"


def test_the_data_directory_that_it_makes_is_this_user_s_alone(tmp_path: Path, valkey: Server) -> None:
    flags = ["--data-dir", tmp_path / "data", "--valkey-url", valkey.address]
    assert command("load", *flags, "-", stdin=ndjson(TOPIC)).returncode == 0
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


# What readers see -----------------------------------------------------------------------------------


def test_a_load_while_serve_runs_is_seen_by_the_next_read(serve: Serve) -> None:
    service = serve("--sample", "off")
    get = service.client.get

    def load(*values: Any) -> None:
        run = command("load", "--data-dir", service.data_dir, "-", stdin=ndjson(*values))
        assert run.returncode == 0, run.stderr

    assert get(f"{API}/topics").json() == []
    assert get(f"{API}/topics/night").status_code == 404
    assert get(f"{API}/snippets", params={"topic_id": "night"}).status_code == 404
    assert get(f"{API}/snippets/static").status_code == 404
    load(TOPIC, SNIPPET)
    assert [topic["topic_id"] for topic in get(f"{API}/topics").json()] == ["night"]
    assert get(f"{API}/topics/night").json()["display_name"] == "Night Radio"
    assert [one["title"] for one in get(f"{API}/snippets", params={"topic_id": "night"}).json()] == ["Static"]
    assert get(f"{API}/snippets/static").json()["title"] == "Static"
    load(TOPIC | {"display_name": "Later Radio"}, SNIPPET | {"title": "Hiss"})
    assert [topic["display_name"] for topic in get(f"{API}/topics").json()] == ["Later Radio"]
    assert get(f"{API}/topics/night").json()["display_name"] == "Later Radio"
    assert [one["title"] for one in get(f"{API}/snippets", params={"topic_id": "night"}).json()] == ["Hiss"]
    assert get(f"{API}/snippets/static").json()["title"] == "Hiss"
    assert stored(service.data_dir, "outbox") == set()


def test_a_load_by_the_record_alone_reaches_a_serve_that_runs(tmp_path: Path, serve: Serve) -> None:
    service = serve("--sample", "off")
    assert service.client.get(f"{API}/topics").json() == []
    line = [str(PROGRAM), "load", "--database-url", f"sqlite:{service.data_dir / 'greenroom.sqlite3'}", "-"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run = subprocess.run(
        line,
        cwd=elsewhere,
        env=environment(),
        input=ndjson(TOPIC),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert list(elsewhere.iterdir()) == []
    wait_for(lambda: [topic["topic_id"] for topic in service.client.get(f"{API}/topics").json()] == ["night"], 20)
    wait_for(lambda: stored(service.data_dir, "outbox") == set(), 20)


KEYS = ("cache:topics:all", "cache:topic:night", "cache:snippet:static", "cache:snippets:topic:night:page:1")


def planted(raw: Raw, prefix: str = "") -> None:
    """Put what was there before the load where readers look first."""
    values = ([TOPIC], TOPIC, SNIPPET, [SNIPPET])
    for key, value in zip(KEYS, values, strict=True):
        assert raw("SET", prefix + key, json.dumps(value), "EX", 900) == b"OK"


def test_a_later_serve_drops_what_was_loaded_without_the_engine(tmp_path: Path, valkey: Server, serve: Serve) -> None:
    valkey.kill()
    flags = ["--data-dir", tmp_path / "data", "--valkey-url", valkey.address]
    changed = ndjson(TOPIC | {"display_name": "Later Radio"}, SNIPPET | {"title": "Hiss"})
    run = command("load", *flags, "-", stdin=changed)
    assert run.returncode == 0
    assert "the caches could not be reached" in run.stderr
    assert stored(tmp_path / "data", "outbox"), "the change waits in the record"
    valkey.start()
    raw = valkey.raw()
    planted(raw)
    service = serve("--sample", "off", "--valkey-url", valkey.address)
    wait_for(lambda: stored(tmp_path / "data", "outbox") == set(), 60)
    assert [raw("EXISTS", key) for key in KEYS] == [0, 0, 0, 0]
    assert service.client.get(f"{API}/snippets/static").json()["title"] == "Hiss"
    (topic,) = service.client.get(f"{API}/topics").json()
    assert topic["display_name"] == "Later Radio"


def test_a_load_without_the_engine_is_caught_up_with_by_a_serve_that_runs(valkey: Server, serve: Serve) -> None:
    service = serve("--sample", "off", "--valkey-url", valkey.address)
    flags = ["--data-dir", service.data_dir, "--valkey-url", valkey.address]
    planted(valkey.raw())
    with valkey.frozen():
        run = command("load", *flags, "-", stdin=ndjson(TOPIC, SNIPPET | {"title": "Hiss"}))
        assert run.returncode == 0
        assert stored(service.data_dir, "outbox")
    wait_for(lambda: stored(service.data_dir, "outbox") == set(), 60)
    assert service.client.get(f"{API}/snippets/static").json()["title"] == "Hiss"
    assert service.client.get(f"{API}/topics/night").status_code == 200


def test_a_load_drops_the_keys_of_its_own_prefix_only(tmp_path: Path, valkey: Server) -> None:
    raw = valkey.raw()
    planted(raw)
    planted(raw, "staging:")
    flags = ["--data-dir", tmp_path, "--valkey-url", valkey.address, "--key-prefix", "staging:"]
    assert command("load", *flags, "-", stdin=ndjson(TOPIC, SNIPPET)).returncode == 0
    assert [raw("EXISTS", key) for key in KEYS] == [1, 1, 1, 1]
    assert [raw("EXISTS", "staging:" + key) for key in KEYS] == [0, 0, 0, 0]
