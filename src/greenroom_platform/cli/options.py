"""Settings as command-line options: one flag each, derived from the settings themselves."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from greenroom import private_files
from greenroom.errors import InvalidInput
from greenroom_platform.domain.records import ChecksWrites, Records
from greenroom_platform.http.settings import ENV_PREFIX, Settings, flag_name, service_links
from greenroom_platform.storage import is_mongodb, shown_database
from greenroom_platform.studio.recording_errors import RecordingsUnavailable
from greenroom_platform.studio.recording_opening import is_remote, open_recordings

log = logging.getLogger("greenroom.studio")

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(names: Iterable[str] | None = None) -> Callable[[F], F]:
    """Add a flag for each of the named settings; None means all."""
    chosen = None if names is None else set(names)

    def decorate(function: F) -> F:
        for one in reversed(fields(Settings)):
            if chosen is None or one.name in chosen:
                text = f"{one.metadata['help']} [{ENV_PREFIX}{one.name.upper()}]"
                option = click.option(flag_name(one.name), one.name, metavar=one.metadata["form"], help=text)
                function = option(function)
        return function

    return decorate


def read_settings(flags: dict[str, str | None]) -> Settings:
    """The settings of this process: flags, then environment, then defaults.

    One line says which variables are passed over because Kubernetes has set them for a Service such as `greenroom`.

    Raises:
        InvalidInput: naming the setting, for a value that is not valid or a variable that is no setting.
    """
    if links := service_links(os.environ):
        names = f"{links[0]} and {len(links) - 1} more" if len(links) > 1 else links[0]
        click.echo(
            f"greenroom: passed over {names}: Kubernetes sets them for a Service whose name begins with greenroom; "
            "`enableServiceLinks: false` in the pod's spec keeps them away",
            err=True,
        )
    return Settings.read(os.environ, flags)


def make_directory(data_dir: Path) -> None:
    """Make the data directory, for this user alone.

    Raises:
        InvalidInput: when it cannot be made.
    """
    try:
        private_files.make_directory(data_dir)
    except OSError as error:
        trouble = "it is not a directory" if isinstance(error, FileExistsError) else error.strerror
        reason = f"{data_dir} cannot be used: {trouble}"
        raise InvalidInput("data_dir", reason, "name a directory that this user may write to") from None


def names_directory(flags: dict[str, str | None], settings: Settings) -> bool:
    """Whether the data directory is named, or there; one below wherever the user stands is not made unasked."""
    named = flags["data_dir"] is not None or bool(os.environ.get(ENV_PREFIX + "DATA_DIR"))
    return named or settings.data_dir.is_dir()


def unnamed(settings: Settings, remedy: str) -> InvalidInput:
    """The error of a command that needs the data directory; see `names_directory`."""
    return InvalidInput("data_dir", f"there is no {settings.data_dir} in {Path.cwd()}", remedy)


def write_trouble(records: Records) -> str | None:
    """Why a record that was just opened cannot be written, with the remedy; None where it can, or cannot tell."""
    return (
        f"the record {records.write_trouble}" if isinstance(records, ChecksWrites) and records.write_trouble else None
    )


async def check_recordings(url: str) -> None:
    """See that recordings can be kept where a setting says; a store that does not answer may later.

    Raises:
        InvalidInput: naming the setting, where it cannot keep any.
    """
    store = open_recordings(url, None)
    try:
        await store.check()
    except RecordingsUnavailable as error:
        log.warning("starting anyway, without recordings until this is fixed: %s", error)
    finally:
        store.close()


def recordings_apart(settings: Settings) -> str | None:
    """What to say where a record that several hosts may have has recordings that only this host's directory has.

    Prevents: a worker of one host records into its directory · the record names the recording as whole · listeners of
    the other host find nothing.
    """
    url = settings.database_url
    if url is None or not is_mongodb(url) or is_remote(settings.recordings_url):
        return None
    return (
        f"the record {shown_database(url)} may have processes on other hosts, and the recordings of this one are in a "
        "directory: what a worker records on one host is not heard on another; name a bucket for all processes of one "
        "record by --recordings-url or GREENROOM_RECORDINGS_URL, or run them on one host with one directory"
    )
