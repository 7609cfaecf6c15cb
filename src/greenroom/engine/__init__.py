"""The engine lane: from a command to the reply of a Valkey or Redis server, one multiplexed connection per use."""

from greenroom.engine.address import Address
from greenroom.engine.cluster.cluster import Clustered
from greenroom.engine.engine import Engine, start_within
from greenroom.engine.factory import engine_at
from greenroom.engine.limits import Limits
from greenroom.engine.scripts import Script
from greenroom.engine.server.standalone import Standalone
from greenroom.engine.transport.supervisor import Channel

__all__ = ["Address", "Channel", "Clustered", "Engine", "Limits", "Script", "Standalone", "engine_at", "start_within"]
