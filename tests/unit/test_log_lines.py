"""How log lines reach their stream: those of one turn of the loop at once, warnings before anything else happens."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import time
from threading import Thread

import msgspec
import pytest

from greenroom_platform.http.logs import _PIECE, REQUEST_ID, _Lines, configure, inform
from tests.support.patience import until

_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T][\d:,.]+Z?")


class _Written:
    """A stream that remembers each write."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return len(text)

    def flush(self) -> None: ...


def made() -> tuple[logging.Logger, list[str], _Lines]:
    stream = _Written()
    handler = _Lines(stream)  # type: ignore[arg-type]  # it needs these two methods alone
    log = logging.Logger("lines", logging.INFO)
    log.addHandler(handler)
    return log, stream.pieces, handler


async def test_lines_of_one_turn_are_written_at_once_and_in_order() -> None:
    log, pieces, _ = made()
    for number in range(3):
        log.info("line %d", number)
    assert pieces == []
    await asyncio.sleep(0)
    assert pieces == ["line 0\nline 1\nline 2\n"]


async def test_many_lines_wait_for_each_other_and_a_few_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    log, pieces, handler = made()
    log.info("first")
    await asyncio.sleep(0)
    monkeypatch.setattr(handler, "_written", time.monotonic() + 60)  # as if it had been written this very moment
    for number in range(3):
        log.info("line %d", number)
        await asyncio.sleep(0)
    assert pieces == ["first\n"]
    await until(lambda: len(pieces) > 1)
    assert pieces == ["first\n", "line 0\nline 1\nline 2\n"]
    monkeypatch.setattr(handler, "_written", time.monotonic() - 60)
    log.info("last")
    await asyncio.sleep(0)
    assert pieces[-1] == "last\n"


async def test_a_warning_is_written_at_once_with_all_before_it() -> None:
    log, pieces, _ = made()
    log.info("before")
    log.warning("it fails")
    assert pieces == ["before\nit fails\n"]
    await asyncio.sleep(0)
    assert pieces == ["before\nit fails\n"]


async def test_a_thread_without_a_loop_writes_at_once() -> None:
    log, pieces, _ = made()
    log.info("of the loop")
    thread = Thread(target=log.info, args=("of a thread",))
    thread.start()
    thread.join()
    assert pieces == ["of the loop\nof a thread\n"]


async def test_no_piece_is_longer_than_what_stays_whole_on_a_pipe() -> None:
    log, pieces, _ = made()
    for _ in range(3):
        log.info("x" * (_PIECE // 2))
    await asyncio.sleep(0)
    assert [len(piece) for piece in pieces] == [_PIECE // 2 + 1] * 3


def test_a_loop_that_ends_before_its_next_turn_holds_up_no_other() -> None:
    log, pieces, _ = made()
    loop = asyncio.new_event_loop()
    loop.call_soon(log.info, "the last line")
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert pieces == []

    async def next_one() -> None:
        log.info("of the next loop")

    asyncio.run(next_one())
    assert pieces == ["the last line\nof the next loop\n"]


def test_what_is_left_at_the_end_is_flushed() -> None:
    log, pieces, handler = made()
    loop = asyncio.new_event_loop()
    loop.call_soon(log.info, "the last line")
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    logging.shutdown([lambda: handler])  # a weak reference is called in the same way
    assert pieces == ["the last line\n"]


async def test_a_stream_that_nobody_reads_hurts_nobody() -> None:
    log, pieces, handler = made()

    def broken(_: str) -> int:
        raise BrokenPipeError

    handler.stream.write = broken  # type: ignore[method-assign]
    log.error("nobody hears it")
    assert pieces == []


@pytest.fixture
def logging_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """`configure` sets up the logging of a whole process; here it lasts for a test."""
    for switch in ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        monkeypatch.setattr(logging, switch, getattr(logging, switch, None), raising=False)
    for name in ("greenroom", "greenroom.access", "uvicorn", "litestar", "asyncio"):
        log = logging.getLogger(name)
        for member in ("handlers", "level", "propagate"):
            monkeypatch.setattr(log, member, getattr(log, member))
        monkeypatch.setattr(log, "_cache", {})


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@pytest.mark.usefixtures("logging_restored")
@pytest.mark.parametrize("format_", ["text", "json"])
@pytest.mark.parametrize("message", ["GET /api/v1/topics 200 0.123 ms 127.0.0.1", "two\nlines", "100 %s", "\x1b[31m"])
def test_both_ways_to_inform_write_the_same_line(monkeypatch: pytest.MonkeyPatch, format_: str, message: str) -> None:
    written, other = _Written(), _Records()
    monkeypatch.setattr(sys, "stderr", written)
    configure(format_=format_, level="info")
    log, with_id = logging.getLogger("greenroom.access"), REQUEST_ID.set("id-1")
    inform(log, message, {"status": 200})
    assert other.messages == []
    log.handlers = [other]
    inform(log, message, {"status": 200})
    log.handlers = []
    REQUEST_ID.reset(with_id)
    log.setLevel("WARNING")
    inform(log, message, {})
    assert other.messages == [message]
    direct, recorded = (_TIME.sub("", line) for line in written.pieces)
    assert direct == recorded
    assert "id-1" in direct
    assert format_ == "text" or msgspec.json.decode(direct)["status"] == 200


@pytest.mark.usefixtures("logging_restored")
def test_what_cannot_be_written_is_told_and_hurts_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    configure(format_="json", level="info")
    inform(logging.getLogger("greenroom.access"), "message", {"status": object()})
    assert "Logging error" in capsys.readouterr().err
