"""A real Prometheus with the shipped alerts, on a service whose Valkey stands still: the alert fires, and ends."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.support.deployed_files import DEPLOY, needs
from tests.support.patience import wait_for
from tests.support.real_servers import Server, free_port
from tests.support.running_service import API, KEPT, NO_TLS, Serve, Service

pytestmark = needs("prometheus", "prometheus")


@pytest.fixture
def service(valkey: Server, serve: Serve) -> Service:
    """A service on a server that the test may stop."""
    return serve("--work", "off", "--valkey-url", valkey.address)


@pytest.fixture
def prometheus(service: Service, tmp_path: Path) -> Iterator[httpx.Client]:
    """Prometheus, which scrapes the service each second; what alerts wait for is as much shorter."""
    rules = (DEPLOY / "prometheus" / "rules.yml").read_text("utf-8")
    (tmp_path / "rules.yml").write_text(re.sub(r"for: \d+m", "for: 1s", rules.replace("[2m]", "[10s]")))
    target = {"targets": [service.url.removeprefix("http://")]}
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(tmp_path / "rules.yml")],
        "scrape_configs": [{"job_name": "greenroom", "static_configs": [target]}],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = ["prometheus", f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}"]
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, verify=NO_TLS, limits=KEPT) as client:
            yield client
    finally:
        process.terminate()
        process.wait(30)


def firing(prometheus: httpx.Client) -> set[str]:
    """The alerts that fire now."""
    try:
        alerts = prometheus.get("/api/v1/alerts").raise_for_status().json()["data"]["alerts"]
    except (httpx.TransportError, httpx.HTTPStatusError):  # it is starting
        return {"not ready"}
    return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}


def scraped(prometheus: httpx.Client) -> bool:
    """Whether the service was scraped, before anything was read past its server."""
    try:
        query = {"query": 'greenroom_cache_reads_total{outcome="bypassed"} == 0'}
        return bool(prometheus.get("/api/v1/query", params=query).raise_for_status().json()["data"]["result"])
    except (httpx.TransportError, httpx.HTTPStatusError):
        return False


def test_a_server_that_stands_still_raises_the_alert_until_it_is_back(
    valkey: Server, service: Service, prometheus: httpx.Client
) -> None:
    def read() -> None:
        assert service.client.get(f"{API}/topics").status_code == 200

    wait_for(lambda: scraped(prometheus), 60, every=0.2)
    # Another may fire on a busy machine, as for a scrape that took more than a second.
    wait_for(lambda: not firing(prometheus) & {"GreenroomWithoutEngine", "not ready"}, 60, every=0.2)
    with valkey.frozen():

        def alerted() -> bool:
            read()
            return "GreenroomWithoutEngine" in firing(prometheus)

        wait_for(alerted, 90, every=0.3)
    wait_for(lambda: "GreenroomWithoutEngine" not in firing(prometheus), 90, every=0.5)
    read()
