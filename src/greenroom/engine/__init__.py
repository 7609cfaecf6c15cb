"""The engine: from a command to the reply of a Valkey or Redis server, one multiplexed connection per channel.

What stands here is what caches and sessions use; the packages inside are the engine's own.
"""

from greenroom.engine.address import Address
from greenroom.engine.commands import Ask, Channel, Command, Hook
from greenroom.engine.engine import Direct, Engine, start_within
from greenroom.engine.factory import EMBEDDED, engine_at, open_engine
from greenroom.engine.limits import Limits
from greenroom.engine.listener import Handover, KeyFilter, Listener, all_keys
from greenroom.engine.protocol.errors import NoReply, NotHere
from greenroom.engine.scripts import Script

__all__ = [
    "EMBEDDED",
    "Address",
    "Ask",
    "Channel",
    "Command",
    "Direct",
    "Engine",
    "Handover",
    "Hook",
    "KeyFilter",
    "Limits",
    "Listener",
    "NoReply",
    "NotHere",
    "Script",
    "all_keys",
    "engine_at",
    "open_engine",
    "start_within",
]
