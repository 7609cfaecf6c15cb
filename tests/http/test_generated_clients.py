"""Clients that generators make of the API's description: they compile, and send and read what others leave out.

The description itself passes the linter of OpenAPI without a warning.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_client_programs import PYTHON, TYPESCRIPT
from tests.support.node_packages import MODULES, node_program
from tests.support.running_service import API, Service

SERVE_ENV = {"GREENROOM_WORK": "off"}
QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
CONFIGURED = """
project_name_override: greenroom-client
package_name_override: greenroom_client
post_hooks: []
# A recording is bytes.
content_type_overrides: {"audio/webm": "application/octet-stream"}
"""


@pytest.fixture
def directory(service: Service, tmp_path: Path) -> Path:
    """A directory with the service's description in `api.json`."""
    (tmp_path / "api.json").write_bytes(service.client.get("/docs/openapi.json").raise_for_status().content)
    return tmp_path


def run(directory: Path, *command: str) -> str:
    ended = subprocess.run(
        command, cwd=directory, env=os.environ | QUIET, capture_output=True, text=True, timeout=110, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def holds(service: Service, told: Any) -> None:
    """What both clients are told: one podcast under one key, and conditions that have reached the service."""
    first, second = told["podcasts"]
    assert first == second
    assert told["tag"] == service.client.get(f"{API}/topics/tech_ai_ethics").headers["etag"]
    assert told["unchanged"] == 304
    assert told["refused"] == "/problems/precondition-failed"


def test_the_description_passes_the_linter_without_a_warning(directory: Path) -> None:
    lint = node_program("redocly"), "lint", "api.json", "--format", "json"
    # Reads of the whole have no 4xx of their own; what any address may answer is said once, as `default`.
    problems = json.loads(run(directory, *lint, "--skip-rule", "operation-4xx-response"))["problems"]
    assert [(one["ruleId"], one["location"][0]["pointer"]) for one in problems] == []


def test_a_typescript_client_compiles_and_sends_its_conditions(service: Service, directory: Path) -> None:
    run(directory, node_program("openapi-typescript"), "api.json", "--output", "api.ts")
    (directory / "node_modules").symlink_to(MODULES)
    (directory / "package.json").write_text('{"type": "module"}')
    (directory / "use_client.ts").write_text(TYPESCRIPT)
    flags: Sequence[str] = ("--strict", "--noUncheckedIndexedAccess", "--exactOptionalPropertyTypes")
    target = "--target", "es2022", "--module", "nodenext", "--skipLibCheck", "--types", "node"
    run(directory, node_program("tsc"), *flags, *target, "use_client.ts")
    holds(service, json.loads(run(directory, "node", "use_client.js", service.url, service.token)))


def test_a_python_client_compiles_and_sends_its_conditions(service: Service, directory: Path) -> None:
    (directory / "client.yaml").write_text(CONFIGURED)
    made = "--path", "api.json", "--config", "client.yaml", "--output-path", "greenroom_client", "--meta", "none"
    said = run(directory, sys.executable, "-m", "openapi_python_client", "generate", *made)
    assert "WARNING" not in said
    (directory / "use_client.py").write_text(PYTHON)
    run(directory, sys.executable, "-m", "compileall", "-q", "greenroom_client")
    holds(service, json.loads(run(directory, sys.executable, "use_client.py", service.url, service.token)))
    # Its types: the program, and what it follows of the client.
    run(directory, sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, "use_client.py")
