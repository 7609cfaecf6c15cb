"""Every metric and label that an alert or a panel asks for is on `/metrics`."""

from __future__ import annotations

import json
import re

from tests.support.deployed_files import DEPLOY, LABELLED, METRIC
from tests.support.running_service import Service

SUFFIX = re.compile(r"_(bucket|count|sum)$")
NAMED = {path: (DEPLOY / path).read_text("utf-8") for path in ("prometheus/rules.yml", "grafana/greenroom.json")}


def test_every_metric_and_label_that_is_asked_for_is_there(service: Service) -> None:
    text = service.client.get("/metrics", headers=service.editor).raise_for_status().text
    there = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    there |= {f"{name}_total" for name in there}
    labels = {name: set(re.findall(rf'\b{name}="([^"]+)"', text)) for name in ("outcome", "kind", "event")}
    for path, asked in NAMED.items():
        names = {SUFFIX.sub("", name) for name in METRIC.findall(asked)}
        assert len(names) >= 9, path
        assert names <= there, (path, names - there)
        for label, by_pattern, values in LABELLED.findall(asked.replace('\\"', '"')):
            for one in values.split("|") if by_pattern else [values]:
                assert any(re.fullmatch(one, value) for value in labels[label]), (path, label, one)


def test_the_dashboard_is_whole_and_its_panels_do_not_overlap() -> None:
    board = json.loads(NAMED["grafana/greenroom.json"])
    variables = {one["name"] for one in board["templating"]["list"]}
    assert variables == {"source", "instance"}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    cells = [
        (x, y)
        for panel in board["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert all(0 <= x < 24 for x, _ in cells)
    assert all(panel["description"] and panel["targets"] for panel in board["panels"])
