"""What `import greenroom` loads, and what the library knows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import greenroom

PACKAGES = {"greenroom", "hiredis", "msgspec", "typing_extensions"}
"""The library, what it needs, and what hiredis imports."""
PARTS = {
    *(
        "argument_types",
        "cached",
        "caching",
        "callbacks",
        "client",
        "clock",
        "counters",
        "detached",
        "engine",
        "errors",
    ),
    *("extras", "keyspace", "late_imports", "lazy", "lifecycle", "observe", "opened", "private_files", "room_caches"),
    *("room_drops", "wiring"),
}
"""The parts of the library that caches need: neither sessions nor commands."""
MOST = 91
"""Modules of ours, of msgspec and of hiredis together: each is read, and compiled the first time. One more needs a
reason: `argument_types` has the checks that each part made in its own words; `room_caches` and `caching.releases` are
the second ideas of files that had two; `keyspace.parts` has the kinds of parts of a key, `caching.keyspace_drops` how
drops of keyspaces are told, `keyspace.mismatch` the errors of both formats, `lazy` the types of annotations,
`late_imports` how a name is imported at its first use; `loader_parts` compares annotations with the parts;
`room_drops` and, in `caching`, `cache_drops`, `changing`, `declaration_checks`, `load_errors` and `load_steps` were the
second ideas of files above 300 lines, as `counters` was of `observe`; `options` has what four lists of arguments
had; `caching.admission`, `caching.questions` and `caching.far_reads` are ideas that stood in `caching.remote`, and
`caching.cache_peeks` one that stood in `caching.cache`."""
EXAMPLES = {"pattern.py"}
"""Files that name a topic's key as an example."""


def loaded(statement: str) -> set[str]:
    program = (
        f"import sys, json; before = set(sys.modules); {statement}; print(json.dumps(list(set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return set(json.loads(run.stdout))


def test_importing_the_library_loads_what_a_cache_needs_only() -> None:
    modules = loaded("from greenroom import Cache, Greenroom, Keyspace")
    packages = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    assert {name for name in packages if not name.startswith("_")} <= PACKAGES
    counted = {name for name in modules if name.partition(".")[0] in ("greenroom", "hiredis", "msgspec")}
    assert {name.split(".")[1] for name in counted if name.startswith("greenroom.")} <= PARTS
    assert len(counted) <= MOST


def test_a_process_loads_no_caches_before_it_names_one() -> None:
    assert {name for name in loaded("import greenroom") if name.startswith("greenroom")} == {
        "greenroom",
        "greenroom.late_imports",
    }
    assert set(greenroom.__all__) <= set(dir(greenroom))
    renderer = loaded("import greenroom_platform.studio.render_process")
    assert not renderer & {"asyncio", "greenroom.caching", "greenroom.engine", "greenroom.sessions"}


def test_names_of_sessions_are_loaded_when_they_are_asked_for() -> None:
    assert "greenroom.sessions" in loaded("from greenroom import SessionMiddleware")
    assert all(hasattr(greenroom, name) for name in greenroom.__all__)


def test_the_library_knows_no_podcast() -> None:
    word = re.compile("podcast|topic|snippet", re.IGNORECASE)
    folder = Path(greenroom.__file__).parent
    files = [file for kind in ("py", "lua") for file in folder.rglob(f"*.{kind}")]
    assert {file.name for file in files if word.search(file.read_text("utf-8"))} <= EXAMPLES
