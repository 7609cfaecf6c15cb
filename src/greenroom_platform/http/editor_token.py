"""The editor token that is made where none is set: in a file of the data directory, for this user alone.

Not in a log: those go to other machines, are kept for long, and are read by many. It stays from one start to the next,
and processes that share a data directory share it. To have another one, delete the file and start again.
"""

from __future__ import annotations

import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path

from greenroom import private_files
from greenroom.errors import InvalidInput
from greenroom_platform.http.settings import check_token

log = logging.getLogger("greenroom.http")

NAME = "editor-token"


# docs/decisions/0072-the-made-editor-token-stays.md
def kept_token(data_dir: Path) -> str:
    """The token in the data directory, made at its first use.

    Raises:
        InvalidInput: when the file cannot be used, with the remedy.
    """
    path = data_dir / NAME
    try:
        private_files.make_directory(data_dir)
        if not path.exists():
            _make(path)
        token = path.read_text("ascii", errors="replace").strip()
    except OSError as error:
        reason = f"none is set, and {path} cannot be used: {error.strerror}"
        raise InvalidInput("editor_token", reason, "set GREENROOM_EDITOR_TOKEN") from None
    try:
        return check_token("editor_token", token)
    except InvalidInput:
        reason = f"{path} holds none of 16 printable characters or more"
        raise InvalidInput("editor_token", reason, "delete the file, or set GREENROOM_EDITOR_TOKEN") from None


def _make(path: Path) -> None:
    """Make the file, whole from its first moment.

    Prevents: two services start in one directory · the first makes the file · the second reads it before the token is
    in it · or writes its own, and the first has one that is in no file.
    """
    part = path.with_name(f"{path.name}-{secrets.token_hex(8)}.part")
    private_files.make_file(part)
    try:
        part.write_text(f"{secrets.token_urlsafe(24)}\n", "ascii")
        with suppress(FileExistsError):
            os.link(part, path)
    finally:
        part.unlink(missing_ok=True)
