"""What a process reads of its handlers once."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from greenroom_platform.http.app import create_app
from greenroom_platform.http.settings import Settings

TOKEN = "token-of-the-editors-in-tests"


def test_a_second_application_reads_no_handlers_signature_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, read = Settings(data_dir=tmp_path, editor_token=TOKEN), list[str]()
    create_app(settings)
    as_it_is = inspect.Signature.from_callable

    def from_callable(called: object, **options: object) -> inspect.Signature:
        read.append(str(getattr(called, "__module__", "")))
        return as_it_is(called, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(inspect.Signature, "from_callable", from_callable)
    create_app(settings)
    # The framework makes the handlers of OPTIONS for each application.
    assert {module for module in read if module.startswith("greenroom_platform.http.routes")} == set()
