"""The pages of the reference that are written by hand say what the code has."""

from __future__ import annotations

import re

import msgspec

from greenroom_platform.domain.records import SnippetImport, TopicImport
from greenroom_platform.http import events
from greenroom_platform.http.routes import operations, stream
from tests.support.repository import ROOT

REFERENCE = ROOT / "docs" / "reference"


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text("utf-8")


def test_the_websocket_page_has_every_close_code() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d{4}) \|", page("websocket"), re.MULTILINE)}
    names = "DONE", "GOING_AWAY", "FAILED_HERE", "OVERLOAD", "SESSION_OVER", "UNKNOWN"
    assert codes == {vars(stream)[name] for name in names}


def test_the_events_page_has_the_pauses_of_the_code() -> None:
    assert f"{events.RETRY_MS} milliseconds" in page("server-sent-events")
    assert f"every {events.COMMENT_EVERY:g} s without an event" in page("server-sent-events")


def test_the_ndjson_page_has_every_member_and_which_are_required() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \| ([^|]*)\| ([^|]*)\|", page("ndjson"), re.MULTILINE)
    for column, type_ in ((1, TopicImport), (2, SnippetImport)):
        said = {name: row[column].strip() for row in rows for name in re.findall(r"`(\w+)`", row[0])}
        required = {name for name, word in said.items() if word == "required"}
        optional = {name for name, word in said.items() if word == "optional"}
        fields = msgspec.structs.fields(type_)
        assert required == {one.name for one in fields if one.required}, type_
        assert optional == {one.name for one in fields if not one.required}, type_


def test_the_metrics_page_has_every_gauge() -> None:
    texts = {text for text in vars(operations).values() if isinstance(text, str)}
    gauges = {text for text in texts if re.fullmatch(r"greenroom_[a-z_]+", text)}
    assert len(gauges) == 4
    assert not [name for name in gauges if f"`{name}`" not in page("metrics")]
