"""Users: their passwords, how often they may be guessed, and what a user document keeps."""

from greenroom.accounts.attempts import SCRIPTS, Attempts, TooManyAttempts
from greenroom.accounts.passwords import Passwords
from greenroom.accounts.rates import Bound, Rate, network
from greenroom.accounts.users import Accounts, WrongCredentials

__all__ = [
    "SCRIPTS",
    "Accounts",
    "Attempts",
    "Bound",
    "Passwords",
    "Rate",
    "TooManyAttempts",
    "WrongCredentials",
    "network",
]
