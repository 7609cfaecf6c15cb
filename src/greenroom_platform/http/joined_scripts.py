"""The script of a page: its modules joined, so that a browser asks for one file instead of forty.

A module becomes a function that runs once and returns what it exports; the entry comes last, as it is. The modules
are written for that: imports of names from files, exports where something is declared, and no cycles.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_IMPORT = re.compile(r"^import \{ (.+) \} from '(.+)';\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|function|class|const) (\w+))", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*|\bimport\(.*", re.MULTILINE)
_WAITS = re.compile(r"^(?:await\b|(?:const|let) [^=\n]+= await\b).*", re.MULTILINE)


# docs/decisions/0119-a-page-has-one-script.md
def joined(entry: str, read: Callable[[str], str]) -> tuple[str, frozenset[str]]:
    """The script that does what a module does with all that it imports, and the addresses of the imported modules.

    Arguments:
        entry: the address of the module, such as `/page/app.js`.
        read: gives the text of a module, by its address.

    Raises:
        ValueError: a module imports or exports in another way, imports what is not exported or, through others, itself,
            or waits.
    """
    texts: dict[str, str] = {}
    _read(entry, read, (), texts)
    imported = [address for address in texts if address != entry]
    parts = [_as_function(address, texts) for address in imported]
    return "".join([*parts, _bound(entry, texts)]), frozenset(imported)


def _read(address: str, read: Callable[[str], str], above: tuple[str, ...], texts: dict[str, str]) -> None:
    """Read a module and all that it imports, in the order in which a browser runs them: what is imported first."""
    if address in above:
        raise ValueError(f"{address} imports itself: {' imports '.join((*above, address))}")
    if address in texts:
        return
    text = read(address)
    for _, path in _IMPORT.findall(text):
        _read(_beside(address, path), read, (*above, address), texts)
    texts[address] = text


def _beside(address: str, path: str) -> str:
    return f"{address.rpartition('/')[0]}/{path.removeprefix('./')}" if path.startswith("./") else path


def _bound(address: str, texts: Mapping[str, str]) -> str:
    """A module's text, whose imports are taken from what the functions have returned."""

    def taken(found: re.Match[str]) -> str:
        source = _beside(address, found[2])
        exported = _EXPORT.findall(texts[source])
        for name in found[1].split(", "):
            if name.partition(" as ")[0] not in exported:
                raise ValueError(f"{address}: {source} exports no {name}")
        return f"const {{ {found[1].replace(' as ', ': ')} }} = {_name(source)};\n"

    bound = _IMPORT.sub(taken, texts[address])
    left = _LEFT.search(_EXPORT.sub("", bound))
    if left:
        raise ValueError(f"{address}: cannot join {left[0]!r}")
    return bound


def _as_function(address: str, texts: Mapping[str, str]) -> str:
    names = ", ".join(_EXPORT.findall(texts[address]))
    body = _EXPORT.sub("", _bound(address, texts))
    waits = _WAITS.search(body)
    if waits:
        raise ValueError(f"{address}: only a page's app.js may wait, as by {waits[0]!r}")
    return f"const {_name(address)} = (() => {{\n{body}return {{ {names} }};\n}})();\n"


def _name(address: str) -> str:
    """A variable that no module uses: of two folders, files may have the same name."""
    return "$" + re.sub(r"\W", "_", address.strip("/").removesuffix(".js"))
