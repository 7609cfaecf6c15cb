"""The sample that ships with the package: topics and snippets worth reading."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.resources import files

from greenroom_platform.domain.records import Records
from greenroom_platform.storage.ndjson import LoadSummary, load


async def load_sample(records: Records) -> LoadSummary:
    """Load the sample; doing it twice, or in two processes at once, changes nothing more."""
    sample = files("greenroom_platform.storage").joinpath("sample")
    with ExitStack() as stack:
        names = sorted(entry.name for entry in sample.iterdir() if entry.name.endswith(".ndjson"))
        return await load(records, [(name, stack.enter_context(sample.joinpath(name).open("rb"))) for name in names])
