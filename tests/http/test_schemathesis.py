"""Requests made from the API's own description, in every role: nothing fails here, and all answers are as described.

Bounded: the described edges of each call (`coverage`), with one seed. `make schemathesis` goes on from there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.people import people_of
from tests.support.running_service import Service

PROGRAM = Path(sys.executable).with_name("schemathesis")
CONFIGURED = Path(__file__).with_name("schemathesis.toml")
SERVE_ENV = {"GREENROOM_WORK": "off"}
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance"),
    *("response_schema_conformance", "missing_required_header", "unsupported_method", "allow_header_conformance"),
    *("ignored_auth", "positive_data_acceptance", "negative_data_rejection"),
)
OF_ROLE = {
    "anonymous": ("Operations", "Podcasts", "Search", "Users"),
    "user": ("Sessions", "History", "Feeds"),
    "editor": ("Topics", "Snippets", "Activity", "Editing"),
}
"""The parts of the description in which a role can do more than the one before it."""


def run(service: Service, *options: str) -> subprocess.CompletedProcess[str]:
    described = service.data_dir / "openapi.json"
    described.write_bytes(json.dumps(strict(service)).encode())
    bounds = ("--seed", "16", "--phases", "coverage", "--request-timeout", "40", "--warnings", "off")
    command = [
        str(PROGRAM),
        "--config-file",
        str(CONFIGURED),
        "run",
        str(described),
        "--url",
        service.url,
        *bounds,
        "--checks",
        ",".join(CHECKS),
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=service.data_dir)


def strict(service: Service) -> dict[str, Any]:
    """The service's description without what it says of all other answers: none is to be given."""
    document: dict[str, Any] = service.client.get("/docs/openapi.json").raise_for_status().json()
    for path in document["paths"].values():
        for operation in path.values():
            del operation["responses"]["default"]
    return document


@pytest.mark.skipif(shutil.which(PROGRAM) is None, reason="schemathesis has no wheel for this Python")
@pytest.mark.parametrize("role", OF_ROLE)
def test_every_answer_is_as_described_in_every_role(service: Service, role: str) -> None:
    # A stream of events and a long poll end when their podcast does, or after 30 s.
    options = ["--exclude-path-regex", "/(events|status|logout-everywhere)$"]
    for tag in OF_ROLE[role]:
        options += ["--include-tag", tag]
    with people_of(service) as people:
        if role == "user":
            token = people().sign_up().log_in(token=True).json()["token"]
            # It adds a forged cookie to the token, which is still there, and goes before a cookie.
            options += ["--exclude-checks", "ignored_auth"]
            # What ends the session that it asks with.
            options += ["--exclude-method", "DELETE", "-H", f"Authorization: Bearer {token}"]
        elif role == "editor":
            options += ["-H", f"Authorization: Bearer {service.token}"]
        ended = run(service, *options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "ERROR" not in service.output()
