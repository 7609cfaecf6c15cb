"""The units, the image, compose and the manifests pass their own checkers, and name settings that there are."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from greenroom_platform.http.settings import ENV_PREFIX, Settings
from tests.support.deployed_files import DEPLOY, checked, needs, ours
from tests.support.running_service import PROGRAM

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
EXPOSED = 20
"""The most that systemd may reckon a unit exposed, in tenths; one without hardening has 92 or so."""


@needs("systemd-analyze", "systemd")
@pytest.mark.parametrize("unit", UNITS, ids=[unit.name for unit in UNITS])
def test_a_unit_is_known_to_systemd_and_hardened(unit: Path, tmp_path: Path) -> None:
    # The program is where it is here: systemd looks whether it is there.
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text("utf-8").replace("/opt/greenroom/bin/greenroom", str(PROGRAM)))
    assert checked("systemd-analyze", "verify", "--man=no", copy) == ""
    checked("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSED}", "--no-pager", copy)


def test_the_image_passes_its_linter() -> None:
    assert checked(ours("hadolint"), "--failure-threshold", "info", DEPLOY / "docker" / "Dockerfile") == ""


def test_compose_fits_its_schema_and_overrides_what_it_means_to() -> None:
    file = DEPLOY / "docker" / "compose.yaml"
    checked(ours("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", file)
    services = yaml.safe_load(file.read_text("utf-8"))["services"]
    assert "noeviction" in services["sessions"]["command"]
    assert "volatile-lru" in services["caches"]["command"]
    assert services["worker"]["ports"] == []
    assert services["service"]["environment"]["GREENROOM_WORK"] == "off"


def test_the_manifests_of_kubernetes_fit_their_schemas() -> None:
    file = DEPLOY / "kubernetes" / "greenroom.yaml"
    documents = [one for one in yaml.safe_load_all(file.read_text("utf-8")) if one]
    told = checked(ours("kubernetes-validate"), "--strict", file)
    assert told.count(" passed for resource ") == len(documents)
    pods = [one["spec"]["template"]["spec"] for one in documents if one["kind"] == "Deployment"]
    assert all(pod["enableServiceLinks"] is False for pod in pods)


def test_every_setting_that_is_named_is_one() -> None:
    known = {ENV_PREFIX + one.name.upper() for one in fields(Settings)}
    for file in DEPLOY.rglob("*"):
        if file.is_file():
            named = set(re.findall(r"\bGREENROOM_[A-Z_]+", file.read_text("utf-8")))
            assert named <= known, (file, named - known)
