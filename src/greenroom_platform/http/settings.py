"""The settings of the service: each one flag and one environment variable, read here and nowhere below."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from greenroom.engine import Address
from greenroom.errors import InvalidInput
from greenroom.keyspace.pattern import check_prefix
from greenroom_platform.http.host_settings import hosts, origins, proxies
from greenroom_platform.storage import check_database
from greenroom_platform.studio.recording_opening import check_url

ENV_PREFIX = "GREENROOM_"
_TOKEN_MIN = 16
_LOG_LEVELS = ("debug", "info", "warning", "error")
_DIGITS = re.compile(r"[0-9]{1,9}")
# Kubernetes gives the pods of a namespace such variables for each Service (documentation: "Environment variables" of
# Services, after Docker's links). Those of a Service named `greenroom`, or `greenroom-valkey`, begin with our prefix.
# The names of Services and ports are those of the manifest in upper case, with underscores.
_SERVICE_LINK = re.compile(
    r"GREENROOM_(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]{1,5}_(?:TCP|UDP|SCTP)(?:_(?:ADDR|PORT|PROTO))?)"
)
_SERVICE_LINK_PORT = re.compile(r"GREENROOM_(?:[A-Z0-9_]+_)?PORT")
_SERVICE_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://.*")


def _setting(default: Any, form: str, help_: str, parse: Callable[[str, str], Any], *, secret: bool = False) -> Any:
    """A setting; its help names what is the case without it where that is no value."""
    shown = "" if default is None else f" Default: {_written(default) or 'none'}."
    return field(default=default, repr=not secret, metadata={"help": help_ + shown, "form": form, "parse": parse})


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)


def _text(name: str, text: str) -> str:
    if not text:
        raise InvalidInput(name, "is empty", "give it a value or leave it out")
    return text


def _whole(minimum: int, maximum: int) -> Callable[[str, str], int]:
    def parse(name: str, text: str) -> int:
        # At most nine digits: Python refuses to read thousands of them with an error of its own.
        if _DIGITS.fullmatch(text) is None or not minimum <= int(text) <= maximum:
            raise InvalidInput(name, f"{text[:80]!r} is not valid", f"use a whole number from {minimum} to {maximum}")
        return int(text)

    return parse


def _choice(*choices: str) -> Callable[[str, str], str]:
    def parse(name: str, text: str) -> str:
        if text.lower() not in choices:
            raise InvalidInput(name, f"{text!r} is not a valid value", f"use one of {', '.join(choices)}")
        return text.lower()

    return parse


def _switch(name: str, text: str) -> bool:
    return _choice("on", "off")(name, text) == "on"


def _path(name: str, text: str) -> Path:
    return Path(_text(name, text))


def _address(name: str, text: str) -> str:
    Address.parse(text, field=name)
    return text


# docs/decisions/0044-database-urls-have-a-scheme.md
def _database(name: str, text: str) -> str:
    check_database(text, field=name)
    return text


def _recordings(name: str, text: str) -> str:
    return check_url(text, field=name)


def check_token(name: str, text: str) -> str:
    """The text, where it can be a token of staff; raises `InvalidInput` otherwise."""
    if len(text) < _TOKEN_MIN or not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidInput(
            name,
            f"is shorter than {_TOKEN_MIN} characters or has characters that a header cannot carry",
            f"use {_TOKEN_MIN} or more printable ASCII characters, no spaces",
        )
    return text


def _prefix(name: str, text: str) -> str:
    try:
        return check_prefix(text)
    except InvalidInput as error:
        raise InvalidInput(name, error.reason, error.remedy) from None


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of `greenroom serve`: each is a flag and a `GREENROOM_` variable, and the flag wins."""

    host: str = _setting("127.0.0.1", "ADDRESS", "The address to listen on.", _text)
    port: int = _setting(8000, "NUMBER", "The port to listen on; 0 takes a free one.", _whole(0, 65_535))
    workers: int = _setting(1, "NUMBER", "Processes that share the port.", _whole(1, 64))
    data_dir: Path = _setting(
        Path("greenroom-data"), "DIRECTORY", "Where the embedded Valkey and the embedded database keep files.", _path
    )
    valkey_url: str | None = _setting(
        None,
        "URL",
        "The Valkey or Redis server, as valkey://HOST:6379. Default: an embedded one.",
        _address,
        secret=True,
    )
    cache_url: str | None = _setting(
        None, "URL", "The server of the caches. Default: that of --valkey-url.", _address, secret=True
    )
    session_url: str | None = _setting(
        None, "URL", "The server of the sessions. Default: that of --valkey-url.", _address, secret=True
    )
    replica_reads: bool = _setting(
        False, "on|off", "Read cached values at the replicas of a cluster, which may lag 0.75 s.", _switch
    )
    database_url: str | None = _setting(
        None,
        "URL",
        "The record, as sqlite:PATH or mongodb://HOST/NAME. Default: SQLite in the data directory.",
        _database,
        secret=True,
    )
    recordings_url: str | None = _setting(
        None,
        "URL",
        "Where recordings are kept: a directory, or s3://BUCKET/PREFIX. Default: in the data directory.",
        _recordings,
    )
    editor_token: str | None = _setting(
        None,
        "TOKEN",
        "The bearer token of editors, 16 characters or more. Default: generated, and kept in DATA_DIR/editor-token.",
        check_token,
        secret=True,
    )
    control_token: str | None = _setting(
        None,
        "TOKEN",
        "The token for read-only access to /control, 16 characters or more. Default: none.",
        check_token,
        secret=True,
    )
    allowed_origins: tuple[str, ...] = _setting(
        (), "ORIGIN,...", "Origins that browsers may call from, as https://example.org.", origins
    )
    allowed_hosts: tuple[str, ...] = _setting(
        (),
        "HOST,...",
        "Hosts to answer for, as example.org,*.example.org; others get 400. Without a list, any host.",
        hosts,
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (), "NETWORK,...", "Proxies whose forwarded addresses count, as 10.1.0.0/16.", proxies
    )
    key_prefix: str = _setting("", "PREFIX", "Put before every key, so that environments can share a server.", _prefix)
    sample: bool | None = _setting(
        None,
        "on|off",
        "Load the sample if the record is empty. Default: on for the embedded record, off at --database-url.",
        _switch,
    )
    # docs/decisions/0061-serve-can-run-without-a-worker.md
    work: bool = _setting(True, "on|off", "Make requested podcasts in this process too.", _switch)
    signups_per_hour: int = _setting(
        10, "NUMBER", "New users from one client address in an hour.", _whole(1, 1_000_000)
    )
    sessions_per_minute: int = _setting(
        60, "NUMBER", "Anonymous sessions begun from one client address in a minute.", _whole(1, 1_000_000)
    )
    streams_per_address: int = _setting(
        20,
        "NUMBER",
        "Concurrent streams from one client address in each process; and as many long polls.",
        _whole(1, 1_000_000),
    )
    log_format: str = _setting("text", "text|json", "The format of log lines.", _choice("text", "json"))
    log_level: str = _setting("info", "|".join(_LOG_LEVELS), "The lowest level that is logged.", _choice(*_LOG_LEVELS))

    @classmethod
    def read(cls, environ: Mapping[str, str], flags: Mapping[str, str | None]) -> Settings:
        """Read every setting; a flag wins over its variable.

        Raises:
            InvalidInput: for a value that cannot be, naming the setting, or an unknown variable, naming the nearest.
                What Kubernetes sets for a Service is passed over; see `service_links`.
        """
        links = service_links(environ)
        environ = {name: text for name, text in environ.items() if name not in links}
        known = {ENV_PREFIX + one.name.upper(): one for one in fields(cls)}
        for variable in environ:
            if variable.startswith(ENV_PREFIX) and variable not in known:
                # Without the prefix, which would make every two names look alike.
                meant = variable.removeprefix(ENV_PREFIX).lower()
                (near,) = difflib.get_close_matches(meant, [one.name for one in fields(cls)], n=1, cutoff=0.0)
                raise InvalidInput(variable, "is not a setting", f"did you mean {ENV_PREFIX}{near.upper()}?")
        values: dict[str, Any] = {}
        for variable, one in known.items():
            flag = flags.get(one.name)
            text, name = (flag, flag_name(one.name)) if flag is not None else (environ.get(variable), variable)
            # An empty variable is one that was not set: that is how shells and compose files unset things.
            if text is not None and (text or flag is not None):
                values[one.name] = one.metadata["parse"](name, text)
        settings = cls(**values)
        settings.check_tokens(_named("control_token", flags))
        if settings.replica_reads and not settings._on_a_cluster:
            remedy = "give the caches the address of a cluster, as valkey+cluster://host:6379, or leave it off"
            raise InvalidInput(_named("replica_reads", flags), "the replicas of one server are not known", remedy)
        return settings

    def environ(self) -> dict[str, str]:
        """The same settings as environment variables, for a child process; holds the secrets."""
        return {ENV_PREFIX + one.name.upper(): _written(getattr(self, one.name)) for one in fields(self)}

    def check_tokens(self, name: str = "control_token") -> None:
        """Raise `InvalidInput` of this name where who may only look could act as well."""
        if self.control_token is not None and self.control_token == self.editor_token:
            raise InvalidInput(name, "is the editor token", "use another one, or leave it out")

    @property
    def _on_a_cluster(self) -> bool:
        return self.cache_address is not None and Address.parse(self.cache_address).cluster

    @property
    def loads_sample(self) -> bool:
        """Whether the sample is wanted in an empty record: in one that is named only if that is said too."""
        return self.database_url is None if self.sample is None else self.sample

    @property
    def cache_address(self) -> str | None:
        """The server of the caches; None for the embedded one."""
        return self.cache_url or self.valkey_url

    @property
    def session_address(self) -> str | None:
        """The server of the sessions; None for the embedded one, also where the caches have a server of their own."""
        return self.session_url or self.valkey_url


def service_links(environ: Mapping[str, str]) -> list[str]:
    """What Kubernetes has set for Services named `greenroom`, or `greenroom-valkey`: it looks like settings.

    `GREENROOM_PORT` is one of them where it holds the address of a Service, and a setting otherwise.
    """

    def is_link(name: str, text: str) -> bool:
        if _SERVICE_LINK.fullmatch(name) is not None:
            return True
        return _SERVICE_LINK_PORT.fullmatch(name) is not None and _SERVICE_ADDRESS.fullmatch(text) is not None

    return sorted(name for name, text in environ.items() if is_link(name, text))


def _named(name: str, flags: Mapping[str, str | None]) -> str:
    """A setting as whoever started the process has given it."""
    return flag_name(name) if flags.get(name) is not None else ENV_PREFIX + name.upper()


def flag_name(name: str) -> str:
    """The command-line flag of a setting."""
    return "--" + name.replace("_", "-")
