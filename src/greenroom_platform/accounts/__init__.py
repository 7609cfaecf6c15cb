"""Users: their passwords, how often they may be guessed, and what a user document keeps."""

from greenroom_platform.accounts.attempts import SCRIPTS, Attempts, TooManyAttempts
from greenroom_platform.accounts.networks import network
from greenroom_platform.accounts.passwords import Passwords
from greenroom_platform.accounts.users import Accounts, WrongCredentials

__all__ = [
    "SCRIPTS",
    "Accounts",
    "Attempts",
    "Passwords",
    "TooManyAttempts",
    "WrongCredentials",
    "network",
]
