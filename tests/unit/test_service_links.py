"""What Kubernetes sets for a Service named `greenroom` looks like settings, and is none."""

from __future__ import annotations

import pytest

from greenroom.errors import InvalidInput
from greenroom_platform.http.settings import Settings, service_links

HOST = {"GREENROOM_SERVICE_HOST": "10.0.0.1", "GREENROOM_SERVICE_PORT": "8000"}
NAMED = {"GREENROOM_SERVICE_PORT_HTTP": "8000", "GREENROOM_SERVICE_PORT_HTTP_ALT_2": "8001"}
LINKS = HOST | NAMED | {"GREENROOM_PORT": "tcp://10.0.0.1:8000"}
for _protocol in ("TCP", "UDP", "SCTP"):
    LINKS |= {
        f"GREENROOM_PORT_8000_{_protocol}": f"{_protocol.lower()}://10.0.0.1:8000",
        f"GREENROOM_PORT_8000_{_protocol}_ADDR": "10.0.0.1",
        f"GREENROOM_PORT_8000_{_protocol}_PORT": "8000",
        f"GREENROOM_PORT_8000_{_protocol}_PROTO": _protocol.lower(),
    }

for _name, _text in tuple(LINKS.items()):
    LINKS[_name.replace("GREENROOM_", "GREENROOM_VALKEY_2_", 1)] = _text


@pytest.mark.parametrize("name", LINKS)
def test_what_kubernetes_sets_for_a_service_is_no_setting(name: str) -> None:
    assert service_links({name: LINKS[name], "PATH": "/bin"}) == [name]
    assert Settings.read({name: LINKS[name]}, {}) == Settings()


@pytest.mark.parametrize("address", ["tcp://10.0.0.1:8000", "udp://10.0.0.1:53", "sctp://[fd00::1]:8000"])
def test_a_port_that_is_the_address_of_a_service_is_passed_over(address: str) -> None:
    assert Settings.read({"GREENROOM_PORT": address}, {}).port == 8000
    assert Settings.read({"GREENROOM_PORT": address}, {"port": "9000"}).port == 9000


def test_a_port_beside_them_is_still_the_setting() -> None:
    environ = LINKS | {"GREENROOM_PORT": "9000"}
    assert "GREENROOM_PORT" not in service_links(environ)
    assert Settings.read(environ, {}).port == 9000


@pytest.mark.parametrize(
    "name",
    [
        "GREENROOM_SERVICE_HOSTS",
        "GREENROOM_VALKEY_PORT",
        "GREENROOM_VALKEY_SERVICE",
        "GREENROOM_VALKEY_HOST",
        "GREENROOM_SERVICE",
        "GREENROOM_PORT_HTTP",
        "GREENROOM_PORT_8000",
        "GREENROOM_PORT_8000_TLS",
        "GREENROOM_PORT_8000_TCP_PORTS",
        "GREENROOM_SERVICE_PORT_http",
    ],
)
def test_what_only_looks_alike_is_an_error_that_names_the_nearest(name: str) -> None:
    with pytest.raises(InvalidInput, match="did you mean GREENROOM_"):
        Settings.read(LINKS | {name: "1"}, {})


@pytest.mark.parametrize("text", ["http://10.0.0.1:8000", "tcp", "9000/tcp"])
def test_another_text_in_the_port_is_an_error(text: str) -> None:
    with pytest.raises(InvalidInput, match="whole number"):
        Settings.read({"GREENROOM_PORT": text}, {})
