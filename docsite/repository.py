"""Pages made of files of the repository that are not in docs/, and the links to them."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "reporting.md"}
"""Documents at the root, and their page."""
EXAMPLES = "examples"
_LINK = re.compile(r"(?<!!)\[([^\[\]]*(?:\[[^\]]*\][^\[\]]*)*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LANGUAGES = {".py": "python", ".ts": "typescript", ".cfg": "ini"}


def pages() -> dict[str, str]:
    """The text of each page, by its path in the site's sources."""
    found = {page: (ROOT / source).read_text("utf-8") for source, page in DOCUMENTS.items()}
    for file in _examples():
        found[example_page(file)] = _example(file)
    found[f"{EXAMPLES}/index.md"] = _index()
    return found


def example_page(file: Path) -> str:
    """The page of an example's file."""
    return f"{file.relative_to(ROOT).as_posix().replace('.', '-')}.md"


def linked(text: str, source_uri: str, address: str) -> str:
    """A page's text, whose links to files outside docs/ lead to their page, to the repository, or nowhere.

    Arguments:
        source_uri: the page's path in docs/.
        address: the repository's public address; without it a file that has no page is named, not linked.
    """
    # A generated page's links are those of the file that it is made of.
    origin = next((one for one, page in DOCUMENTS.items() if page == source_uri), f"docs/{source_uri}")

    def led(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        if (page := _page_of(path)) is not None:
            return f"[{label}]({posixpath.relpath(page, posixpath.dirname(source_uri) or '.')}{anchor})"
        return f"[{label}]({address.rstrip('/')}/blob/main/{path}{anchor})" if address else label

    parts = _FENCE.split(text)
    return "".join(part if part.startswith("```") else _LINK.sub(led, part) for part in parts)


def _page_of(path: str) -> str | None:
    if path in DOCUMENTS:
        return DOCUMENTS[path]
    if path == "README.md":
        return "index.md"
    if path == "docs/decisions":
        return "decisions/README.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    file = ROOT / path
    if path == EXAMPLES:
        return f"{EXAMPLES}/index.md"
    return example_page(file) if path.startswith(f"{EXAMPLES}/") and file.is_file() else None


def _examples() -> list[Path]:
    files = (file for suffix in _LANGUAGES for file in (ROOT / EXAMPLES).rglob(f"*{suffix}"))
    return sorted(file for file in files if "__pycache__" not in file.parts)


def _example(file: Path) -> str:
    name = file.relative_to(ROOT).as_posix()
    return f'# {name}\n\n```{_LANGUAGES[file.suffix]} title="{name}"\n{file.read_text("utf-8").rstrip()}\n```\n'


def _index() -> str:
    rows = [f"| [{_name(file)}]({_name(file).replace('.', '-')}.md) | {_purpose(file)} |" for file in _examples()]
    return "\n".join(
        [
            "# Examples",
            "",
            "Complete programs, each of them run by a test. Copy one; its first lines say how it is run.",
            "It needs Greenroom with the extras of what it imports: see [Install](../install.md).",
            "Those that look for an address in `VALKEY_URL` start a Valkey of their own where there is none,",
            "with the extra `embedded`.",
            "",
            "| program | what it shows |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def _name(file: Path) -> str:
    return file.relative_to(ROOT / EXAMPLES).as_posix()


def _purpose(file: Path) -> str:
    """The first sentence of its docstring or of its first comment."""
    text = file.read_text("utf-8")
    found = re.match(
        r'\s*(?:"""|/\*\*?|//|#)\s*(.+?)(?:\n\s*\n|"""|\*/|\n(?!\s*(?:\*|//|#|[A-Za-z`(]))|\Z)', text, re.DOTALL
    )
    words = re.sub(r"\n\s*(?:\*|//|#)?\s*", " ", found[1]) if found else ""
    return re.split(r"(?<=\.)\s", words)[0].replace("|", "\\|")
