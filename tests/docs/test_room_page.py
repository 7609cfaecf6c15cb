"""The page on operating a room: its example runs, and what it names is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import greenroom.observe
from greenroom.caching.options import CacheOptions
from greenroom.engine import Address
from greenroom.engine.address import SENTINEL_OPTIONS
from greenroom.engine.transport.tls import OPTIONS
from tests.support.repository import ROOT

PAGE = (ROOT / "docs" / "operating-a-room.md").read_text("utf-8")


def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "start.py"
    file.write_text(program)
    run = subprocess.run([sys.executable, str(file)], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, "ready: True\n"), run.stderr


def test_each_address_of_the_page_is_read_and_each_option_is_one() -> None:
    addresses = re.findall(r"^    (\w+\+sentinel://\S+)$", PAGE, re.MULTILINE)
    assert len(addresses) == 3
    for address in addresses:
        text = re.sub(r"\?cacert=…", "", address)
        assert Address.parse(text).sentinels is not None
    assert set(re.findall(r"[?&](\w+)=", PAGE)) <= {*OPTIONS, *SENTINEL_OPTIONS}


def test_each_option_and_event_of_the_page_is_there() -> None:
    options = {"load", *CacheOptions.__annotations__}
    section = PAGE.partition("\n## Loaders\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `([a-z_]+)(?:=[^`]*)?` \|", section, re.MULTILINE))
    assert {"failures_for", "passes"} <= named <= options
    (events,) = re.findall(r"calls it with (.*?) of\s+`greenroom.observe`", PAGE, re.DOTALL)
    names = re.findall(r"`(\w+)`", events)
    told = [one for one in vars(greenroom.observe).values() if isinstance(one, type)]
    kinds = {one.__name__ for one in told if issubclass(one, greenroom.observe.Event)} - {"Event"}
    assert set(names) == kinds
