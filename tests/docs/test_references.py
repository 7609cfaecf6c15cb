"""Every file that the documents and the code refer to exists, and every decision is in the index."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from tests.support.repository import ROOT

DECISIONS = ROOT / "docs" / "decisions"
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
_SOURCES = ("src", "tests", "bench", "torture", "release", "docsite", ".ci")
_FILES = ("Makefile", "pyproject.toml", ".pre-commit-config.yaml", ".editorconfig")
_LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]+))?\)")
_PATH = re.compile(r"`([a-z_.][\w.-]*(?:/[\w.-]+)+/?)(?:::\w+)?`")
"""A path in a document: from the root, from `src`, or shortened to `caching/near` for a module of a package there."""
_MEDIA_TYPE = re.compile(r"(application|audio|text)/")
_MODULE = re.compile(r"`([\w-]+\.(?:py|lua|sql|js|lock|in))`")
_DOCUMENT = re.compile(r"(?<![\w/])docs/[\w./-]+\.md\b")


def sources() -> Iterator[Path]:
    """The files of the repository that may refer to a document, other than the documents."""
    yield from (ROOT / name for name in _FILES if (ROOT / name).is_file())
    for folder in _SOURCES:
        yield from (
            file for suffix in ("py", "lua", "sql", "js", "sh") for file in (ROOT / folder).rglob(f"*.{suffix}")
        )


def exists(path: str) -> bool:
    """Whether a path of a document is there: from the root, from `src` or a package in it, with or without `.py`."""
    below = (ROOT, ROOT / "src", *(package for package in (ROOT / "src").iterdir() if package.is_dir()))
    return any((folder / f"{path}{suffix}").exists() for folder in below for suffix in ("", ".py"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_path_of_a_page_leads_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    for target, anchor in _LINK.findall(text):
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"
    missing = [path for path in _PATH.findall(text) if not _MEDIA_TYPE.match(path) and not exists(path)]
    assert not missing
    assert not [name for name in _MODULE.findall(text) if not any(file.name == name for file in _all_files())]


def test_every_module_in_a_diagram_of_the_architecture_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    diagrams = re.findall(
        r"^```text\n(.+?)^```", page.replace("Engine: execute, send, drop, add_listener", ""), re.M | re.S
    )
    named = [name for diagram in diagrams for name in re.findall(r"\b[a-z]\w*(?:/\w+|_\w+)+", diagram)]
    assert len(named) > 30
    modules = [f"/{file.relative_to(ROOT / 'src').with_suffix('')}" for file in (ROOT / "src").rglob("*.py")]
    assert not [name for name in named if not any(module.endswith(f"/{name}") for module in modules)]


def _all_files() -> Iterator[Path]:
    return chain((ROOT / "requirements").iterdir(), ROOT.glob("*.py"), sources())


def test_every_document_that_the_code_names_is_there() -> None:
    named = [(file, path) for file in sources() for path in _DOCUMENT.findall(file.read_text("utf-8"))]
    assert len(named) > 60
    assert not [f"{file.relative_to(ROOT)}: {path}" for file, path in named if not (ROOT / path).is_file()]


def test_every_decision_has_its_number_and_is_in_the_index() -> None:
    files = sorted(file.name for file in DECISIONS.glob("*.md") if file.name != "README.md")
    # Numbers are given before the pages are written: one may be missing for a while, none may be there twice.
    assert all(re.match(r"\d{4}-", name) for name in files)
    assert len({name[:4] for name in files}) == len(files)
    index = (DECISIONS / "README.md").read_text("utf-8")
    listed = re.findall(r"^- \[(\d{4})\]\(([^)]+)\) (.+)$", index, re.MULTILINE)
    assert sorted(name for _, name, _ in listed) == files
    for number, name, title in listed:
        text = (DECISIONS / name).read_text("utf-8")
        assert text.startswith(f"# {number}. {title}\n")
        assert re.findall(r"^## (Decision|Why|Rules out)$", text, re.MULTILINE) == ["Decision", "Why", "Rules out"], (
            name
        )


def test_every_decision_is_named_by_the_code_that_it_explains() -> None:
    named = {path for file in sources() for path in _DOCUMENT.findall(file.read_text("utf-8"))}
    pages = {f"docs/decisions/{page.name}" for page in DECISIONS.glob("0*.md")}
    assert pages - named == set()
