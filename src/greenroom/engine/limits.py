"""Every bound of the engine, with its default."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one engine; times are in seconds.

    Arguments:
        command_deadline: from a write to the last reply to it, and the whole of one call with its retries. A connection
            that misses it is closed, unless bytes come or go.
        reply_deadline: the same for a connection on which they do.
        handshake_deadline: from the start of a connection to its first PONG.
        outstanding: commands without a reply, per connection, above which a call fails as overloaded.
        ping_after: so long after the newest command that was answered was sent, a tracked connection is pinged.
        ping_timeout: so long may no byte come after that ping. The sum of both, and two ticks, bounds how long a
            half-open connection can hide an invalidation.
        role_interval: between two questions to one server whether it has become a replica; as long as it is one, half
            of it is between two looks whether its address leads to a primary.
        tick: between two looks at the oldest outstanding write; what has a deadline ends at most this much later.
        breaker_failures: failures in a row after which calls fail at once instead of waiting for the reconnect.
        backoff_first: the reconnect's pause after the first failure while the breaker is closed; doubled at each
            failure, and a random share of it is slept (full jitter).
        backoff_max: the longest such pause.
        probe_min: the shortest pause while the breaker is open, and between two questions to a cluster that is not
            whole.
        probe_max: the longest such pause.
        topology_interval: between two questions to a cluster that is: who owns what.
        topology_pause: after a hint that it has changed, a random share of this passes before the question, so that a
            thousand processes do not ask at once, and one asks once for many hints.
    """

    command_deadline: float = 0.5
    reply_deadline: float = 10.0
    handshake_deadline: float = 1.0
    outstanding: int = 10_000
    ping_after: float = 0.25
    ping_timeout: float = 0.4
    role_interval: float = 1.0
    tick: float = 0.05
    breaker_failures: int = 3
    backoff_first: float = 0.02
    backoff_max: float = 0.5
    probe_min: float = 0.25
    probe_max: float = 1.0
    topology_interval: float = 5.0
    topology_pause: float = 0.1

    @property
    def max_staleness(self) -> float:
        """Seconds after which what a silent tracked connection has told is no longer relied on."""
        return self.ping_after + self.ping_timeout + 2 * self.tick

    def pause(self, failures: int, random: float) -> float:
        """Seconds to wait before the next attempt after `failures` in a row; `random` is in [0, 1).

        Full jitter, so that a thousand processes do not knock together at a server that has just come back.
        """
        if failures >= self.breaker_failures:
            return self.probe_min + random * (self.probe_max - self.probe_min)
        return random * min(self.backoff_max, self.backoff_first * float(2**failures))
