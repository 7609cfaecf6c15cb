"""The alerts of `deploy/prometheus` fire at what they are for and at nothing else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.support.deployed_files import DEPLOY, checked, needs

RULES, TESTS = DEPLOY / "prometheus" / "rules.yml", DEPLOY / "prometheus" / "rules.test.yml"
ALERTS = [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


@needs("promtool", "prometheus")
def test_each_alert_fires_at_what_it_is_for() -> None:
    assert f"{len(ALERTS)} rules found" in checked("promtool", "check", "rules", RULES)
    checked("promtool", "test", "rules", TESTS)


@needs("promtool", "prometheus")
@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_an_alert_that_never_fires_is_noticed(alert: str, tmp_path: Path) -> None:
    """Each one has a test that needs it."""
    document = yaml.safe_load(RULES.read_text("utf-8"))
    (rule,) = [one for group in document["groups"] for one in group["rules"] if one["alert"] == alert]
    rule["expr"] = f"({rule['expr']}) and vector(1) == 2"
    (tmp_path / RULES.name).write_text(yaml.safe_dump(document))
    shutil.copy(TESTS, tmp_path)
    with pytest.raises(AssertionError, match=alert):
        checked("promtool", "test", "rules", TESTS.name, cwd=tmp_path)


def test_each_alert_says_how_urgent_it_is_and_where_to_look() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("page", "ticket"), rule
        assert re.search(r"docs/|greenroom \w+|the (record|logs)", rule["annotations"]["manual"]), rule
