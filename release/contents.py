"""What is checked of the files of a distribution: their contents, size, metadata, links and licences."""

from __future__ import annotations

import re
import subprocess
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from email.message import Message
from email.parser import Parser
from pathlib import Path

from release.build import ROOT

PACKAGES = ("greenroom", "greenroom_platform")
LARGEST = {"wheel": 1_500_000, "source distribution": 6_000_000}
"""Bytes. A file beyond them has something in it that nobody wanted there."""
OURS = {".css", ".html", ".js", ".lua", ".ndjson", ".py", ".sql", ".svg", ".typed"}
"""What people write by hand. A file of another kind in a package was made by something, or by somebody else."""
_FOREIGN = re.compile(rb"/\*!|@license|@preserve|\bCopyright\b|\(c\) ?\d{4}", re.IGNORECASE)
_LONGEST = 2000
"""Characters of a line that somebody has written; those of a minified script are longer."""
_CODE = {".css", ".html", ".js", ".svg"}
_LINK = re.compile(r"\]\(([^)\s]+)\)")

Files = Mapping[str, bytes]


def wheel_files(wheel: Path) -> dict[str, bytes]:
    """What a wheel has, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def source_files(source: Path) -> dict[str, bytes]:
    """What a source distribution has, by name, without the folder around it."""
    found = {}
    with tarfile.open(source) as archive:
        for member in archive.getmembers():
            if (file := archive.extractfile(member)) is not None:
                found[member.name.partition("/")[2]] = file.read()
    return found


def tracked(folder: str) -> set[str]:
    """The files of a folder that belong to the repository; all of them where this is none."""
    listed = subprocess.run(["git", "ls-files", "-z", folder], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}
    paths = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    names = {path.relative_to(ROOT).as_posix() for path in paths}
    return {name for name in names if "__pycache__/" not in name and ".egg-info/" not in name}


def metadata_of(files: Files) -> Message:
    """The metadata of a wheel; empty where it has none."""
    name = next((name for name in files if name.endswith(".dist-info/METADATA")), "")
    return Parser().parsestr(files.get(name, b"").decode())


def wheel_faults(files: Files, *, size: int, version: str, root: str) -> Iterator[str]:
    """What is wrong with a wheel.

    Arguments:
        size: bytes of the file itself.
        version: the one of `__version__`.
        root: the address that the links begin with; empty where they stay relative.
    """
    inside = {name for name in files if ".dist-info/" not in name}
    expected = {name.removeprefix("src/") for name in tracked("src")}
    yield from (f"{name} is missing" for name in sorted(expected - inside))
    yield from (f"{name} does not belong to the packages" for name in sorted(inside - expected))
    yield from (
        f"{name}/py.typed is missing: type checkers ignore the package"
        for name in PACKAGES
        if f"{name}/py.typed" not in inside
    )
    yield from _oversize("wheel", size)
    yield from _metadata_faults(metadata_of(files), version=version, root=root)
    yield from _licence_faults(files)
    yield from _private(files)


def source_faults(files: Files, *, size: int, version: str) -> Iterator[str]:
    """What is wrong with a source distribution; arguments as above."""
    expected = {"LICENSE", "NOTICE", "README.md", "CHANGELOG.md", "pyproject.toml", "PKG-INFO"}
    for folder in ("src", "docs", "examples", "deploy"):
        expected |= tracked(folder)
    yield from (f"{name} is missing" for name in sorted(expected - set(files)))
    yield from _oversize("source distribution", size)
    if (told := Parser().parsestr(files.get("PKG-INFO", b"").decode())["Version"]) != version:
        yield f"its metadata say version {told}, __version__ says {version}"
    notice = files.get("NOTICE", b"").decode()
    for name in sorted(files):
        if name.startswith("docs/") and not _named(name, notice) and _is_foreign(name, files[name]):
            yield f"{name} is somebody else's work, and NOTICE does not name it with its licence"
    yield from _private(files)


def _oversize(kind: str, size: int) -> Iterator[str]:
    if size > LARGEST[kind]:
        yield f"it has {size:,} bytes; a {kind} may have {LARGEST[kind]:,}"


def _metadata_faults(told: Message, *, version: str, root: str) -> Iterator[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for field, wanted in (
        ("Name", project["name"]),
        ("Version", version),
        ("License-Expression", project["license"]),
        ("Requires-Python", project["requires-python"]),
        ("Summary", project["description"]),
        ("Description-Content-Type", "text/markdown"),
    ):
        if told[field] != wanted:
            yield f"its metadata say {field}: {told[field]}, and not {wanted}"
    for field, listed in (
        ("Provides-Extra", project["optional-dependencies"]),
        ("Classifier", project["classifiers"]),
    ):
        if set(told.get_all(field, [])) != set(listed):
            differing = sorted(set(told.get_all(field, [])) ^ set(listed))
            yield f"its metadata and pyproject.toml differ in {field}: {', '.join(differing)}"
    targets = _LINK.findall(str(told.get_payload()))
    if not targets:
        yield "its metadata have no README"
    if not root:
        return
    yield from (
        f"the README's link to {one} leads nowhere on a package index"
        for one in targets
        if not one.startswith(("https://", "http://", "#"))
    )
    ours = [one.removeprefix(root) for one in targets if one.startswith(f"{root}/")]
    paths = [re.sub(r"^/(?:blob|raw|tree)/main/|#.*$", "", one) for one in ours]
    yield from (
        f"the README's link to {path} leads to no file of the repository"
        for path in paths
        if not (ROOT / path).exists()
    )
    urls = [link.partition(", ")[2] for link in told.get_all("Project-URL", [])]
    if not urls:
        yield "its metadata have no Project-URL"
    yield from (
        f"its metadata name {url}, which is not at {root}" for url in urls if not f"{url}/".startswith(f"{root}/")
    )


def _licence_faults(files: Files) -> Iterator[str]:
    """Everything in the packages is ours, or NOTICE names it; and LICENSE and NOTICE are in the wheel."""
    shipped = {name.partition(".dist-info/licenses/")[2]: text for name, text in files.items()}
    for name in ("LICENSE", "NOTICE"):
        if shipped.get(name) != (ROOT / name).read_bytes():
            yield f"{name} of the repository is not in it"
    notice = shipped.get("NOTICE", b"").decode()
    for name, content in sorted(files.items()):
        if ".dist-info/" not in name and not _named(name, notice) and _is_foreign(name, content):
            yield f"{name} looks like somebody else's work, and NOTICE does not name it with its licence"


def _named(name: str, notice: str) -> bool:
    return any(
        folder in notice for folder in (f"`{name}`", *(f"`{above.as_posix()}/`" for above in Path(name).parents))
    )


def _is_foreign(name: str, content: bytes) -> bool:
    """A font, a recording, a binary, a minified script, or a text with the notice of somebody's rights."""
    kind = Path(name).suffix
    if name.startswith("docs/") and kind in (".md", ".png", ".svg", ".py", ".yml", ".toml"):
        return False
    if kind not in OURS:
        return True
    return kind in _CODE and (_FOREIGN.search(content) is not None or max(map(len, content.split(b"\n"))) > _LONGEST)


def _private(files: Files) -> Iterator[str]:
    home = str(ROOT).encode()
    yield from (
        f"{name} names the directory that it was built in" for name, content in files.items() if home in content
    )
