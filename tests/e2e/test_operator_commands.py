"""`greenroom doctor`, `audit`, `size`, `explain` and `status` beside a running service: nothing is found on it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from greenroom_platform.platform import DATABASE_FILE
from greenroom_platform.storage import open_records
from tests.support.planted import SNIPPET, TOPIC
from tests.support.running_service import API, PROGRAM, Serve, command, environment

# As any user: root without the right to write what belongs to others.
AS_ANY_USER = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--")


def test_nothing_is_found_beside_a_service_that_is_well(serve: Serve) -> None:
    service = serve("--work", "off")
    for path in ("topics", f"topics/{TOPIC}", f"snippets?topic_id={TOPIC}", f"snippets/{SNIPPET}"):
        service.client.get(f"{API}/{path}").raise_for_status()
    service.client.patch(f"{API}/session/preferences", json={"playback_speed_default": 2.0}).raise_for_status()
    home = ("--data-dir", service.data_dir, "--port", service.url.rpartition(":")[2])

    doctor = command("doctor", *home, "--json")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    left_out = [one["name"] for one in json.loads(doctor.stdout)["checks"] if one.get("left_out")]
    # Nothing is encrypted here, nobody logs in, and nobody makes recordings.
    assert left_out == ["certificates", "access rules", "recordings"]

    audit = command("audit", *home, "--json")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    compared = {one["name"]: one["compared"] for one in json.loads(audit.stdout)["keyspaces"]}
    assert all(compared[name] >= 1 for name in ("topic", "topics", "snippet", "snippet_page")), compared

    size = command("size", *home)
    assert size.returncode == 0, size.stdout + size.stderr
    explain = command("explain", f"cache:topic:{TOPIC}", *home)
    assert explain.returncode == 0, explain.stdout + explain.stderr
    assert "record     the same" in explain.stdout

    status = command("status", *home)
    assert status.returncode == 0, status.stdout + status.stderr
    assert status.stdout.startswith("Healthy: the server answers, and of ")
    assert "sessions active: 1" in status.stdout

    service.stop()
    status = command("status", *home)
    assert status.returncode == 2
    assert "does not answer" in status.stdout


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv")
def test_a_record_of_another_owner_is_found(tmp_path: Path) -> None:
    """As `sudo greenroom load` leaves it for the user of the service."""

    async def made() -> None:
        await (await open_records(tmp_path / DATABASE_FILE)).close()

    asyncio.run(made())
    os.chown(tmp_path / DATABASE_FILE, 65534, 65534)
    (tmp_path / DATABASE_FILE).chmod(0o644)
    line = [*AS_ANY_USER, str(PROGRAM), "doctor", "--data-dir", str(tmp_path), "--json"]
    run = subprocess.run(line, env=environment(), capture_output=True, text=True, timeout=60)
    assert run.returncode == 2, run.stderr
    checked = {one["name"]: one for one in json.loads(run.stdout)["checks"]}
    assert [one["kind"] for one in checked["record"]["findings"]] == ["record_read_only"]
