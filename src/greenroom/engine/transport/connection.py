"""One multiplexed connection: all callers share it, commands of one loop tick leave in one write.

Deadlines cost no timer per command: each write leaves one stamp, replies come in order, so only the oldest stamp is
looked at. A connection that misses its deadline and says nothing is closed. One on which bytes still come, or ours go,
stays: a value of 8 MB takes longer than a call may, and closing would send it anew at every read. Its callers are
told at their deadline all the same; their slots stay, so that the order of the others holds.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from greenroom.callbacks import nothing
from greenroom.counters import Histogram
from greenroom.engine.address import Address
from greenroom.engine.commands import Command, Hook
from greenroom.engine.limits import Limits
from greenroom.engine.listener import KeyFilter, all_keys
from greenroom.engine.protocol.attributes import ProtocolViolation
from greenroom.engine.protocol.errors import ConnectionLost, NoReply, NotSent
from greenroom.engine.protocol.wire import ReplyWatch, Wire
from greenroom.errors import EngineError, Overloaded
from greenroom.observe import EngineBatch, EventHooks

if TYPE_CHECKING:
    from greenroom.engine.transport.batches import Batches

log = logging.getLogger("greenroom.engine")


class Connection(asyncio.Protocol):
    """The socket under a `Wire`.

    Arguments:
        loop: the event loop that owns the connection.
        on_push: see `Wire`.
        heartbeat: whether silence is pinged. A half-open connection would else hide invalidations for as long as nobody
            sends anything, or cost the first who does a whole deadline.
        latency: where the time from each write to its last reply is counted.
        limits: deadlines and bounds.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_push: Callable[[Any], None] | None,
        heartbeat: bool,
        latency: Histogram,
        limits: Limits,
    ) -> None:
        self._loop = loop
        self._process = os.getpid()
        self._limits = limits
        self._wire = Wire(on_push, self)
        self._heartbeat = heartbeat
        self._latency = latency
        self._transport: asyncio.Transport | None = None
        self._sent_at: deque[tuple[float, int]] = deque()  # (time of the write, commands issued by then)
        self._held_at: deque[tuple[float, int]] = deque()  # the same for writes that had to wait for an earlier one
        self._events: EventHooks | None = None
        self._goes_by: tuple[str, Address] | None = None
        self._batches: Batches | None = None  # from the first that is traced on
        self._answered = 0  # commands issued by the newest write that has been answered whole
        self._flush_due = False
        self._issued = 0  # commands issued by the newest write
        self._paused = False
        self.last_received = 0.0
        """When the last byte came, in seconds of `time.monotonic`; minus infinity when the connection has ended."""
        self.as_of = 0.0
        """When the newest command was sent that has been answered, in seconds of `time.monotonic`; minus infinity when
        the connection has ended. All pushes for what had happened by then have been read: they precede the answer."""
        self._pinged: float | None = None
        self._unsent = 0  # bytes in the transport's buffer at the last tick
        self._moved = 0.0  # when they were seen to become fewer
        self._timer: asyncio.TimerHandle | None = None
        self.reason: str = "closed"
        self.error: Exception | None = None
        """What the socket failed with, where it did."""
        self.lost: asyncio.Future[None] = loop.create_future()
        """Done when the connection has ended; `reason` then tells why."""
        self.is_replica = False
        """Whether its server has said that it follows another, and so takes no writes."""
        self.owns: KeyFilter = all_keys
        """True for the keys that its server has."""
        self.on_end: Callable[[], None] = nothing
        """Called the moment the connection ends, before any caller learns of it."""

    # What callers use ------------------------------------------------------------------------------

    def issue(
        self, commands: tuple[Command, ...], hook: Hook | None = None, *, urgent: bool = False
    ) -> asyncio.Future[list[Any]]:
        """Queue commands that follow one another on the wire, and return the future of the list of their replies.

        The hook runs with the list and this connection when the last reply is read; an error among the replies is an
        item of it. What is urgent is sent past the bound of outstanding commands.

        Raises:
            Overloaded: when too many commands are outstanding.
            NotSent: when the connection has ended.
        """
        wire = self._wire
        if self._transport is None:
            raise NotSent(self.reason)
        # docs/decisions/0002-invalidations-ignore-the-command-limit.md
        if wire.issued - wire.answered >= self._limits.outstanding and not urgent:
            raise Overloaded(f"{self._limits.outstanding} commands are outstanding")
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        wire.issue(commands, future, hook)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)
        return future

    @property
    def outstanding(self) -> int:
        """Commands without a reply."""
        return self._wire.issued - self._wire.answered

    @property
    def refusal(self) -> EngineError | None:
        """The error that is all the server has said, as where it has as many clients as it takes."""
        return self._wire.refusal if self._wire.answered <= 1 else None

    def be_watched(self, watch: ReplyWatch) -> None:
        """Tell of what the server refuses, and carries out, from now on."""
        self._wire.watch = watch

    def be_traced(self, events: EventHooks, node: str, address: Address) -> None:
        """Tell instruments of each batch from now on.

        Arguments:
            node: what the server goes by.
            address: that of the server itself.
        """
        self._events = events
        self._goes_by = node, address

    def abort(self, reason: str) -> None:
        """Close at once; every caller gets an error.

        Not in a forked child, which comes here when it collects its parent's tasks. Prevents: it closes its copy · the
        socket is taken out of the epoll that both have · the parent hears nothing any more.
        """
        if self._transport is not None and os.getpid() == self._process:
            self.reason = reason
            self._transport.abort()
            self._end()

    # What the event loop calls ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only
        self.last_received = monotonic()
        if self._heartbeat:
            self._timer = self._loop.call_later(self._limits.tick, self._tick)

    def data_received(self, data: bytes) -> None:
        self.last_received = monotonic()
        try:
            self._wire.feed(data)
        except ProtocolViolation as error:
            self.abort(self._refused or f"the server sent an invalid reply: {error}")
            return
        except Exception:
            # A hook or a listener failed, and what it should have done for this reply is not done: start anew.
            log.exception("a reply could not be handled")
            self.abort("a reply could not be handled")
            return
        answered, stamps = self._wire.answered, self._sent_at
        while stamps and stamps[0][1] <= answered:
            sent, self._answered = stamps.popleft()
            self._latency.add(self.last_received - sent)
            self.as_of = sent
        if stamps and answered > self._answered:  # a part of one write
            self.as_of = stamps[0][0]
        if self._batches is not None:
            self._tell(self._batches.answered(answered))

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self.error = error
            lost = f"the connection was lost: {error}" if error else "the server closed the connection"
            self.reason = self._refused or lost
            self._end()

    # ------------------------------------------------------------------------------------------------

    @property
    def _refused(self) -> str | None:
        return f"the server refuses the connection: {self.refusal}" if self.refusal else None

    def _flush(self) -> None:
        self._flush_due = False
        # Closed by the server, and `connection_lost` not called yet: a timer may come first, and a write would raise.
        if self._transport is None or self._transport.is_closing():
            return
        if self._paused:
            self._held_at.append((monotonic(), self._wire.issued))
            return
        data = self._wire.take()
        if not data:
            return
        issued = self._wire.issued
        if self._events is not None and self._events.instruments:
            self._trace(issued)
        self._issued = issued
        self._sent_at.append((monotonic(), issued))
        before = self._transport.get_write_buffer_size()
        try:
            self._transport.write(data)
        except RuntimeError:
            # uvloop has closed its handle, and does not say that it is closing; whoever closed it ends this connection.
            return
        if 0 < (unsent := self._transport.get_write_buffer_size()) < before + len(data):
            # Prevents: a write of many megabytes takes the deadline by itself · the next tick has seen no byte go · the
            # connection is ended. What fits in the system's buffer says nothing: that of a dead server takes it too.
            self._unsent, self._moved = unsent, monotonic()
        if self._timer is None:
            self._timer = self._loop.call_later(self._limits.tick, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now, deadline = monotonic(), self._limits.command_deadline
        # Closed by the server, and `connection_lost` not called yet: uvloop's transport then refuses to be asked.
        if self._transport is None or self._transport.is_closing():
            return
        unsent = self._transport.get_write_buffer_size()
        if unsent < self._unsent:
            self._moved = now
        self._unsent = unsent
        if self._sent_at and now - (oldest := self._sent_at[0][0]) >= deadline:
            # docs/decisions/0013-late-connections-live-while-bytes-move.md
            if now - max(oldest, self.last_received, self._moved) >= deadline:
                self.abort(f"no reply within {deadline} s")
                return
            if now - oldest >= self._limits.reply_deadline:
                self.abort(f"no reply within {self._limits.reply_deadline} s, whatever else came")
                return
        if (late := self._late(now - deadline)) > self._wire.answered:
            self._wire.expire(late, NoReply(f"no reply within {deadline} s"))
        if self._heartbeat and not self._alive(now):
            self.abort(f"silent, and no answer to a ping within {self._limits.ping_timeout} s")
            return
        # docs/decisions/0007-one-timer-per-connection.md
        if self._timer is None and (self._heartbeat or self._sent_at):  # a ping has begun one
            self._timer = self._loop.call_later(self._limits.tick, self._tick)

    def _late(self, since: float) -> int:
        """How many commands were issued by the newest write that was made, or was held, no later than `since`.

        Prevents: a large value goes out over a slow line · commands queue behind it, without a stamp, since they are
        not written · their callers wait for as long as it takes. They stay queued: hooks count on their replies.
        """
        late = 0
        for at, issued in self._sent_at:
            if at > since:
                break
            late = issued
        while self._held_at and self._held_at[0][0] <= since:
            late = max(late, self._held_at.popleft()[1])
        return late

    def _alive(self, now: float) -> bool:
        if self._pinged is not None and self.as_of >= self._pinged:
            self._pinged = None
        if self._pinged is not None:
            # Bytes that come or go keep the connection; only an answer keeps what was read on it.
            return now - max(self._pinged, self.last_received, self._moved) < self._limits.ping_timeout
        if now - self.as_of >= self._limits.ping_after:
            self._pinged = now
            self._wire.issue((("PING",),), None)
            self._flush()
        return True

    def _trace(self, issued: int) -> None:
        if self._batches is None:
            assert self._goes_by is not None
            from greenroom.engine.transport.batches import Batches  # not with the module: few are traced

            self._batches = Batches(*self._goes_by)
        self._batches.sent(self._wire.newest(issued - self._issued), issued)

    def _tell(self, batches: Iterable[EngineBatch]) -> None:
        assert self._events is not None
        for batch in batches:
            self._events.answered(batch)

    def _end(self) -> None:
        self._transport = None
        self.last_received = self.as_of = -inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._sent_at.clear()
        self._held_at.clear()
        self.on_end()
        if self._batches is not None:
            self._tell(self._batches.lost(self.reason))
        self._wire.fail(ConnectionLost(self.reason), NotSent(self.reason))
        if not self.lost.done():
            self.lost.set_result(None)
