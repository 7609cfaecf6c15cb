"""What MkDocs calls: pages made of files outside docs/, blocks made of the code, links that leave docs/."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # MkDocs loads this file by its path

from docsite import anchors, made, repository, sequence  # noqa: E402

ADDRESS = os.environ.get("GREENROOM_URL", "")
"""The public address of the repository, from `make docs URL=…`; without it files outside docs/ are named only."""

_UNKNOWN = "ADDRESS-OF-THE-REPOSITORY"
"""What pages say in its place."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Draw `mermaid` fences here, as SVG: in the page no script draws them, and none is fetched for it.

    Anchors are the forge's, so that one link leads to the same place in both.
    """
    config.mdx_configs.setdefault("toc", {})["slugify"] = anchors.anchor
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {})
    fences["custom_fences"] = [{"name": "mermaid", "class": "sequence", "format": _drawn}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the changelog, the other documents at the root, and a page for each example."""
    for source, text in repository.pages().items():
        files.append(File.generated(config, source, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put in what is made of the code, and lead links that leave docs/ to their page here."""
    try:
        text = made.filled(markdown.replace(_UNKNOWN, ADDRESS or _UNKNOWN))
    except KeyError as error:
        raise PluginError(f"{page.file.src_uri}: nothing makes {error}") from None
    return repository.linked(text, page.file.src_uri, ADDRESS)


def _drawn(source: str, language: str, class_name: str, *_: Any, **__: Any) -> str:
    try:
        return sequence.svg(source)
    except ValueError as error:
        raise PluginError(f"a diagram cannot be drawn: {error}") from None
