"""Where the repository lies, for tests that read its documents or start programs in it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
