"""Failures are counted from 0, so that a rule that looks at an increase sees the first one of each route."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from greenroom_platform.http.metrics import FAILURES, UNMATCHED
from tests.support.problem_checks import problem
from tests.support.real_servers import Server
from tests.support.running_service import API, TOKEN, Service
from tests.support.scrapes import Series, increase, scraped

REQUESTS = "greenroom_http_requests_total"
SOCKETS = "greenroom_websockets_total"
STREAM = f"{API}/podcasts/{{podcast_id}}/stream"


def scrape(service: Service) -> Series:
    return scraped(text_string_to_metric_families(service.client.get("/metrics").text))


def test_the_first_503_of_a_route_is_an_increase(tmp_path: Path, valkey: Server) -> None:
    env = {"GREENROOM_EDITOR_TOKEN": TOKEN}
    service = Service(tmp_path, "--valkey-url", valkey.address, env=env).start()
    try:
        before = scrape(service)
        assert increase(dict.fromkeys(before, 0), before, REQUESTS, status="5..") == 0
        valkey.kill()
        problem(service.client.get(f"{API}/activity", headers=service.editor), 503, "unavailable")
        after = scrape(service)
        assert increase(before, after, REQUESTS, route=f"{API}/activity", status="5..") == 1
        assert increase(before, after, REQUESTS, status="5..") == 1
    finally:
        service.stop()


def test_the_failures_of_every_route_are_counted_from_the_start(service: Service) -> None:
    described = service.client.get("/docs/openapi.json").json()["paths"]
    for template, methods in described.items():
        path = template.replace("{", "").replace("}", "")
        for method in {*methods, "options", *({"head"} if "get" in methods else ())} & {"get", "head", "options"}:
            service.client.request(method, path)
    for method in ("GET", "HEAD", "DELETE", "PROPFIND"):
        service.client.request(method, "/nobody")
    counted: dict[tuple[str, str], set[str]] = {}
    for name, labels in scrape(service):
        if name == REQUESTS:
            of = dict(labels)
            counted.setdefault((of["method"], of["route"]), set()).add(of["status"])
    assert {("GET", f"{API}/topics"), ("HEAD", "/health/live"), ("OTHER", UNMATCHED), ("GET", STREAM)} <= counted.keys()
    failures = {str(status) for status in FAILURES}
    # A method that a route does not have is refused before anything of ours could fail.
    assert {
        call: statuses for call, statuses in counted.items() if not failures <= statuses and statuses != {"405"}
    } == {}


def test_every_code_that_ends_a_websocket_is_counted_from_the_start(service: Service) -> None:
    labels = [dict(labels) for name, labels in scrape(service) if name == SOCKETS]
    assert {"1011", "1013", "other"} <= {of["code"] for of in labels if of["route"] == STREAM}
