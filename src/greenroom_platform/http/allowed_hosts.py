"""The hosts that the service answers for: any, unless `ALLOWED_HOSTS` names some.

Prevents: a page of an attacker's name, whose address they change to ours after it was loaded (DNS rebinding), reads
what the service answers, as its own origin · a proxy that passes everything on lets a shared cache keep our answers
under another's name.

Plain ASGI, outside of sessions and routes. Health and numbers are answered under any name: a probe or a scrape comes
by address, and they tell a stranger nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from greenroom.sessions.plain_http import shown
from greenroom_platform.http.envelope import ASGIApplication
from greenroom_platform.http.problems import Problem, send_problem

_BY_ADDRESS = frozenset({"/health/live", "/health/ready", "/metrics"})


class AllowedHosts:
    """Wraps an ASGI application.

    Arguments:
        hosts: names and addresses without ports, in lower case; `*.example.org` names every host below it.
    """

    def __init__(self, app: ASGIApplication, hosts: Iterable[str]) -> None:
        self._app = app
        names = tuple(hosts)
        self._exact = frozenset(host for host in names if not host.startswith("*."))
        self._below = tuple(host[1:] for host in names if host.startswith("*."))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"] not in _BY_ADDRESS:
            host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
            if not self.allows(host):
                problem = Problem("bad-request", f"this service does not answer for the host {shown(host)}")
                await send_problem(scope, send, problem)
                return
        await self._app(scope, receive, send)

    def allows(self, host: str) -> bool:
        """Whether a `Host` header names one of them; the port does not count, nor a dot at the end."""
        name = _without_port(host.strip().lower())
        return name in self._exact or name.endswith(self._below)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].removesuffix(".")
