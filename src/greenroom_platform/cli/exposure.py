"""How a service is reached and what it gives away there: from its settings alone, to findings."""

from __future__ import annotations

from collections.abc import Sequence

from greenroom.extras import needs_extra
from greenroom.findings import Finding, error, warning
from greenroom_platform.http.settings import Settings

try:
    import resource
except ImportError:  # not a Unix
    resource = None  # type: ignore[assignment]

_LOOPBACK = ("127.", "localhost", "::1", "[::1]")
_ALL = frozenset({"0.0.0.0/0", "::/0"})
_WEAK = 14.0
"""Powers of ten of guesses below which a token is weak; a made one takes more than 30."""
_READ = 72
"""Characters of a token that are judged; more make it no weaker."""
FILES = 4096
"""Open files below which a process is soon full: each listener's connection is one, and each stream's recording."""


def exposure(settings: Settings) -> Sequence[Finding]:
    """Whether browsers are reached over TLS, and whom the service believes."""
    found: list[Finding] = []
    outside = not settings.host.startswith(_LOOPBACK)
    names = [*settings.allowed_hosts, *(origin.rpartition("//")[2] for origin in settings.allowed_origins)]
    public = [name for name in names if not name.startswith(_LOOPBACK)]
    if _ALL & set(settings.trusted_proxies):
        why = "whoever sends X-Forwarded-For has any address he likes, and no bound for each address holds"
        mend = "--trusted-proxies with the addresses of the proxies alone, as 10.0.0.10,10.0.0.11"
        found.append(error("trusts_everybody", "TRUSTED_PROXIES names every address", why, mend))
    if outside and not settings.trusted_proxies:
        what = f"the service listens on {settings.host}, and no proxy is trusted to say that a request came over TLS"
        why = "over plain HTTP no session begins there (403), and behind a proxy all listeners have its address"
        mend = "put a proxy with TLS before it, and name it: --trusted-proxies 10.0.0.10"
        found.append(error("no_proxy", what, why, mend))
    if not outside and public and not settings.trusted_proxies:
        what = f"the service is for {public[0]} and listens on {settings.host}, and no proxy is trusted"
        why = "cookies go without Secure and without their __Host- name, as for a developer on his own machine"
        mend = "--trusted-proxies 127.0.0.1, where the proxy runs on this machine"
        found.append(error("cookies_insecure", what, why, mend))
    if outside and not settings.allowed_hosts:
        what = "the service answers for any host (ALLOWED_HOSTS is empty)"
        why = "a page of an attacker's name can be made to point here, and then read answers as its own"
        found.append(warning("any_host", what, why, "--allowed-hosts with the names that it is reached by"))
    return found


def token_strength(token: str, whose: str = "editor") -> Sequence[Finding]:
    """Whether a token of staff can be guessed, whose setting is `{whose}_token`."""
    with needs_extra("service", "judging a token"):
        from zxcvbn import zxcvbn

    guesses = float(zxcvbn(token[:_READ])["guesses_log10"])
    if guesses >= _WEAK:
        return ()
    what = f"the {whose} token can be guessed (about 10^{guesses:.0f} guesses)"
    changes = "changes every topic and snippet, and sees addresses and paths"
    why = f"who has it {changes if whose == 'editor' else 'sees what operators see'}"
    mend = f"export GREENROOM_{whose.upper()}_TOKEN=$(openssl rand -base64 24)"
    return (error("weak_token", what, why, mend),)


def open_files(workers: int) -> Sequence[Finding]:
    """Whether each process may have as many files open as it has listeners."""
    if resource is None:
        return ()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return few_files(hard, workers)


def few_files(hard: int, workers: int) -> Sequence[Finding]:
    """What is to be said of a hard limit of so many files a process; below zero there is none."""
    if hard < 0 or hard >= FILES:
        return ()
    what = f"a process may have {hard:,} files open; all {workers} together hold some {hard * workers:,} connections"
    why = "beyond that nobody can connect: silent connections keep others out"
    return (warning("open_files", what, why, "LimitNOFILE=65536 in the unit, or `ulimit -Hn 65536` before it starts"),)
