"""Which store of recordings a setting names: a directory, or a bucket that obstore's client reaches."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path

from greenroom.errors import InvalidInput
from greenroom.extras import needs_extra
from greenroom_platform.studio import recording_store
from greenroom_platform.studio.recording_directory import LocalRecordingStore
from greenroom_platform.studio.recording_errors import shown
from greenroom_platform.studio.recording_store import REMEDY, RecordingStore

_SCHEME = "s3"
_ENDPOINTS = "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"


def open_recordings(url: str | None, directory: Path | None) -> RecordingStore:
    """The store of a setting.

    Arguments:
        url: a directory, or `s3://BUCKET/PREFIX`; obstore reads credentials and endpoint from the `AWS_` variables.
        directory: the default.

    Raises:
        InvalidInput: for an address that cannot be, variables that do not fit, or a directory that cannot be used.
        MissingExtra: when obstore is not installed.
    """
    if url is None:
        if directory is None:
            raise InvalidInput("data_dir", "recordings need a directory", "pass data_dir= or recordings_url=")
        return LocalRecordingStore(directory)
    check_url(url, field="recordings_url")
    if not is_remote(url):
        return LocalRecordingStore(Path(url))
    with needs_extra("service", "keeping recordings"):
        from obstore.exceptions import BaseError
        from obstore.store import S3Store
    # The client's settings that we give replace those of the environment.
    plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("true", "1", "yes", "y", "on")
    _check_endpoint(plain=plain)

    def client(seconds: float) -> S3Store:
        return S3Store.from_url(
            url,
            client_options={
                "timeout": timedelta(seconds=seconds),
                "connect_timeout": timedelta(seconds=min(seconds, 2)),
                "allow_http": plain,
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=recording_store.DEADLINE / 2)},
        )

    try:
        return RecordingStore(client(recording_store.DEADLINE), url, client)
    except BaseError as error:
        reason = f"the client of {url} cannot be made: {shown(error)}"
        raise InvalidInput("recordings_url", reason, "correct the AWS_ variable in question") from None


def is_remote(url: str | None) -> bool:
    """Whether the recordings are kept where several hosts find them."""
    return url is not None and url.startswith(f"{_SCHEME}://")


def check_url(url: str, *, field: str) -> str:
    """The address, where it can be one.

    Raises:
        InvalidInput: for another scheme, without its slashes or a bucket, or with what an address cannot have.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        if not url:
            raise InvalidInput(field, "is empty", REMEDY)
        if slip := re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", url):
            # Otherwise: somebody writes s3:/bucket · a directory of that name is made · other hosts find nothing.
            raise InvalidInput(
                field, f"{slip[0]} is not followed by //; a directory of that name is ./{slip[0]}…", REMEDY
            )
        return url
    if scheme != _SCHEME:
        raise InvalidInput(field, f"{scheme}:// is not known", REMEDY)
    try:
        rest.encode()
    except UnicodeEncodeError:
        raise InvalidInput(field, "is not UTF-8", REMEDY) from None
    bucket, _, prefix = rest.partition("/")
    if not bucket or "@" in bucket or "?" in rest or "#" in rest:
        raise InvalidInput(field, "it names no bucket, or more than bucket and prefix", REMEDY)
    if prefix and any(part in ("", ".", "..") for part in prefix.rstrip("/").split("/")):
        raise InvalidInput(field, "its prefix has an empty part, or `.` or `..`", REMEDY)
    return url


def _check_endpoint(*, plain: bool) -> None:
    """The client says of an address without TLS only that it cannot build a request."""
    for name in _ENDPOINTS:
        if os.environ.get(name, "").lower().startswith("http://") and not plain:
            reason = f"{name} begins with http://, and the client uses TLS"
            remedy = "write https://, or AWS_ALLOW_HTTP=true if the network path to the store is private"
            raise InvalidInput("recordings_url", reason, remedy)
