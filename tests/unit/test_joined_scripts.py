"""The script of a page, joined from modules."""

from __future__ import annotations

import pytest

from greenroom_platform.http.joined_scripts import joined

ENTRY = "/edit/app.js"


def test_a_module_comes_once_and_after_all_that_it_imports() -> None:
    texts = {
        ENTRY: "import { b } from './b.js';\nimport { a } from '/page/a.js';\nb(a);\n",
        "/edit/b.js": "import { a } from '/page/a.js';\nexport function b() { return a; }\n",
        "/page/a.js": "export const a = 1;\n",
    }
    script, modules = joined(ENTRY, texts.__getitem__)
    assert modules == {"/edit/b.js", "/page/a.js"}
    assert script == (
        "const $page_a = (() => {\nconst a = 1;\nreturn { a };\n})();\n"
        "const $edit_b = (() => {\nconst { a } = $page_a;\nfunction b() { return a; }\nreturn { b };\n})();\n"
        "const { b } = $edit_b;\nconst { a } = $page_a;\nb(a);\n"
    )


def test_files_of_one_name_in_two_folders_are_two() -> None:
    texts = {
        ENTRY: "import { one } from './same.js';\nimport { one as other } from '/page/same.js';\n",
        "/edit/same.js": "export async function one() {}\n",
        "/page/same.js": "export class one {}\n",
    }
    script, _ = joined(ENTRY, texts.__getitem__)
    assert script.endswith("const { one } = $edit_same;\nconst { one: other } = $page_same;\n")


@pytest.mark.parametrize(
    "text",
    [
        "import './a.js';",
        "import a from './a.js';",
        "import * as a from './a.js';",
        "export default 1;",
        "export { a };",
        "export * from './a.js';",
        "export let a = 1;",
        "const a = await import('./a.js');",
    ],
)
def test_what_cannot_be_joined_is_refused_with_its_file(text: str) -> None:
    texts = {ENTRY: "import { b } from './b.js';\n", "/edit/b.js": f"const c = 1;\n{text}\n"}
    with pytest.raises(ValueError, match=r"^/edit/b\.js: cannot join "):
        joined(ENTRY, texts.__getitem__)


def test_a_module_that_imports_itself_through_another_is_refused() -> None:
    texts = {
        ENTRY: "import { b } from './b.js';\n",
        "/edit/b.js": "import { c } from './c.js';\nexport const b = c;\n",
        "/edit/c.js": "import { b } from './b.js';\nexport const c = b;\n",
    }
    with pytest.raises(ValueError, match=r"^/edit/b\.js imports itself: .* imports /edit/c\.js imports /edit/b\.js$"):
        joined(ENTRY, texts.__getitem__)


def test_a_name_that_is_not_exported_is_refused_as_a_browser_would() -> None:
    texts = {ENTRY: "import { b, c as d } from './b.js';\n", "/edit/b.js": "export const b = 1;\n"}
    with pytest.raises(ValueError, match=r"^/edit/app\.js: /edit/b\.js exports no c as d$"):
        joined(ENTRY, texts.__getitem__)


@pytest.mark.parametrize("text", ["await go();", "const a = await go();"])
def test_a_module_that_waits_is_refused_and_the_entry_may(text: str) -> None:
    texts = {ENTRY: f"import {{ b }} from './b.js';\n{text}\n", "/edit/b.js": "export const b = 1;\n"}
    joined(ENTRY, texts.__getitem__)
    texts["/edit/b.js"] += f"{text}\n"
    with pytest.raises(ValueError, match=r"^/edit/b\.js: only a page's app\.js may wait"):
        joined(ENTRY, texts.__getitem__)
