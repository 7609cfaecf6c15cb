"""`greenroom doctor`: every check of the servers that a program uses, from its declarations and its addresses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from greenroom.acl import Holds, Role, rules
from greenroom.clock import SYSTEM, Clock
from greenroom.declarations import Declarations
from greenroom.engine import Address
from greenroom.engine.operator import OperatorConnection, Shard, find_shards, looking
from greenroom.errors import EngineError
from greenroom.findings import Check, Finding, NotChecked, error, warning
from greenroom.inspection.certificates import certificate
from greenroom.inspection.keys import KeyIndex
from greenroom.inspection.server_rights import rights, timeout
from greenroom.inspection.server_settings import LOOKS, SECTIONS, Told
from greenroom.inspection.tracking import probe, tracking

CLOCKS_APART = 1.0
"""Seconds between two clocks from which they are warned of."""
_LOOPBACK = ("127.", "localhost", "::1")


@dataclass(slots=True)
class Watched:
    """A server, or a cluster, that is looked at.

    Arguments:
        address: with the program's own user.
        holds: what the program keeps there.
        viewer: with a user of the role viewer; None where none is named.
        admin: with a user who may ask for users and settings; None where none is named.
        processes: of the program on this machine.
    """

    address: Address
    holds: Holds
    viewer: Address | None = None
    admin: Address | None = None
    processes: int = 1
    shards: list[Shard] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    @property
    def local(self) -> bool:
        """Whether only programs of this machine reach it, as far as the address tells."""
        return self.address.path is not None or self.address.hosts[0][0].startswith(_LOOPBACK)


class Doctor:
    """The checks of the servers.

    Arguments:
        declared: of the program.
        prefix: what stands before its keys.
        servers: one, or that of the caches and that of the sessions.
    """

    def __init__(self, declared: Declarations, prefix: str, servers: Sequence[Watched], clock: Clock = SYSTEM) -> None:
        self._declared = declared
        self._prefix = prefix
        self._servers = servers
        self._clock = clock
        self._index = KeyIndex(declared, prefix)

    def checks(self) -> list[Check]:
        """All of them, in their order: the first asks what most of the others rely on."""
        return [
            Check("servers answer", self._reach),
            *(Check(name, partial(self._settings, name)) for name in LOOKS),
            Check("log-in", self._log_in),
            Check("certificates", partial(self._each, self._certificate)),
            Check("tracking", partial(self._each, self._tracking)),
            Check("clocks", partial(self._each, self._clocks)),
            Check("settings of the servers", partial(self._each, self._timeout)),
            Check("access rules", self._rights),
        ]

    async def _reach(self) -> Sequence[Finding]:
        found: list[Finding] = []
        for server in self._servers:
            try:
                server.shards = await find_shards(server.address)
                for shard in server.shards:
                    async with looking(shard) as look:
                        info = await look.info(*SECTIONS)
                    server.told.append(Told(shard.primary, server.holds, info, server.processes))
            except EngineError as failure:
                found.append(_unreachable(server, failure))
            else:
                found += await self._whole(server)
            if server.viewer is not None:
                try:
                    await find_shards(server.viewer)
                except EngineError as failure:
                    what = f"the viewer cannot look at {server.viewer}: {failure}"
                    mend = "greenroom acl viewer --password-stdin | valkey-cli"
                    found.append(error("viewer_refused", what, "`greenroom audit` and its kin cannot look", mend))
        return found

    async def _whole(self, server: Watched) -> Sequence[Finding]:
        if not server.address.cluster:
            return ()
        if server.shards:  # else no node has any slots
            async with looking(server.shards[0]) as look:
                if b"cluster_state:ok" in await look.ask("CLUSTER", "INFO"):
                    return ()
        what = f"{server.address} says that it is not whole"
        why = "keys of the missing slots cannot be read or written"
        return (error("cluster_not_whole", what, why, "valkey-cli --cluster check HOST:PORT, then --cluster fix"),)

    async def _settings(self, name: str) -> Sequence[Finding]:
        told = [one for server in self._servers for one in server.told]
        if not told:
            raise NotChecked("no server could be asked")
        return [finding for one in told for finding in LOOKS[name](one)]

    async def _log_in(self) -> Sequence[Finding]:
        return [
            error(
                "no_password",
                f"{server.address} is used without a password",
                "whoever reaches it reads every session, and may change or delete everything",
                "greenroom acl service --password-stdin | valkey-cli; then name the user in the address",
            )
            for server in self._servers
            if server.told and server.address.password is None and not server.local
        ]

    async def _each(self, look: Callable[[Watched], Awaitable[Sequence[Finding]]]) -> Sequence[Finding]:
        found: list[Finding] = []
        left_out: list[str] = []
        for server in self._servers:
            if not server.shards:
                left_out.append(f"{server.address} could not be asked")
                continue
            try:
                found += await look(server)
            except NotChecked as why:
                left_out.append(str(why))
        if left_out and not found:
            raise NotChecked(" · ".join(dict.fromkeys(left_out)))
        return found

    async def _certificate(self, server: Watched) -> Sequence[Finding]:
        return [one for shard in server.shards for one in await certificate(shard.primary, self._clock.now())]

    async def _tracking(self, server: Watched) -> Sequence[Finding]:
        key = probe(self._index, server.holds)
        return [one for shard in server.shards if shard.owns(key) for one in await tracking(shard, key)]

    async def _clocks(self, server: Watched) -> Sequence[Finding]:
        found: list[Finding] = []
        for shard in server.shards:
            async with looking(shard) as look:
                before = self._clock.now().timestamp()
                seconds, micros = await look.ask("TIME")
                after = self._clock.now().timestamp()
            apart = int(seconds) + int(micros) / 1e6 - (before + after) / 2
            found += clocks_apart(str(shard.primary), apart, (after - before) / 2)
        return found

    async def _timeout(self, server: Watched) -> Sequence[Finding]:
        found: list[Finding] = []
        for shard in await find_shards(server.admin or server.address):
            async with looking(shard) as look:
                found += await timeout(look)
        return found

    async def _rights(self) -> Sequence[Finding]:
        async def of_server(server: Watched) -> Sequence[Finding]:
            users = [(Role.SERVICE, server.address)]
            if server.viewer is not None:
                users.append((Role.VIEWER, server.viewer))
            named = [(role, at.username) for role, at in users if at.username not in (None, "default")]
            if not named:
                raise NotChecked(
                    f"{server.address} is used as its default user, who may do everything; "
                    "`greenroom acl` prints users with what each role needs"
                )
            (shard, *_) = await find_shards(server.admin or server.address)
            async with looking(shard) as look:
                return [one for role, user in named for one in await self._of_user(look, server, role, user or "")]

        return await self._each(of_server)

    async def _of_user(self, look: OperatorConnection, server: Watched, role: Role, user: str) -> Sequence[Finding]:
        wanted = rules(role, self._declared, prefix=self._prefix, holds=server.holds)
        return () if wanted is None else await rights(look, user, role.value, wanted)


def clocks_apart(server: str, apart: float, uncertain: float) -> Sequence[Finding]:
    """What is to be said of a clock that is so many seconds ahead of this machine's.

    Arguments:
        uncertain: seconds by which that may be wrong.
    """
    if abs(apart) - uncertain <= CLOCKS_APART:
        return ()
    what = f"the clock of {server} is {abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} this machine's"
    why = "times in sessions, statuses and claims of workers are compared with each other"
    return (warning("clocks", what, why, "let NTP keep both: timedatectl set-ntp true"),)


def _unreachable(server: Watched, failure: EngineError) -> Finding:
    uses = "caches and sessions" if server.holds is Holds.BOTH else server.holds.value
    costs = {
        Holds.CACHES: "every read goes to the record",
        Holds.SESSIONS: "nobody is signed in: 503",
        Holds.BOTH: "every read goes to the record, and nobody is signed in",
    }
    mend = "start the server, or correct its address; `valkey-cli -u ADDRESS PING` answers then"
    return error("unreachable", f"the server of the {uses} cannot be used: {failure}", costs[server.holds], mend)
