"""The package registry of this machine, for uv."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys

NO_ANSWER = ("error sending request", "HTTP status server error", "operation timed out")
"""Words of uv where the registry did not answer, which says nothing of what was asked."""


@functools.cache
def registry_variables() -> dict[str, str]:
    """The registry that pip is configured with, as uv reads it: uv does not look into pip's configuration."""
    if any(name in os.environ for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL")):
        return {}
    pip = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(pip, capture_output=True, text=True, timeout=60, check=False).stdout
    # The environment's line stands below those of the files, and counts for more.
    found = re.findall(r"^(?:global|install|:env:)\.index-url='(.+)'$", listed, re.MULTILINE)
    return {"UV_DEFAULT_INDEX": found[-1]} if found else {}
