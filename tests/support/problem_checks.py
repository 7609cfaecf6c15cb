"""What an answer that is a problem must look like."""

from __future__ import annotations

from typing import Any

import httpx


def problem(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """The body of an answer that must be a whole problem document (RFC 9457)."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), response
    found: dict[str, Any] = response.json()
    assert found["type"] == f"/problems/{slug}"
    assert found["status"] == status
    assert found["title"]
    assert found["detail"]
    assert found["instance"] == response.request.url.raw_path.partition(b"?")[0].decode()
    assert found["request_id"] == response.headers["x-request-id"]
    for error in found.get("errors", []):
        assert error.keys() == {"field", "reason", "remedy"}
        assert all(error.values())
    return found


def blamed(response: httpx.Response) -> tuple[str, str]:
    """The field that a 422 blames, and the remedy it names."""
    (error,) = problem(response, 422, "invalid-input")["errors"]
    return error["field"], error["remedy"]
