"""The engine lane: from a command to the reply of a Valkey or Redis server, one multiplexed connection per use."""

from greenroom.engine.address import Address
from greenroom.engine.engine import Engine, Standalone, settle
from greenroom.engine.limits import Limits
from greenroom.engine.link import Lane
from greenroom.engine.scripts import Script

__all__ = ["Address", "Engine", "Lane", "Limits", "Script", "Standalone", "settle"]
