"""The listener's page as files: served from the package, under a strict policy, and complete."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import resources

import httpx
import pytest

from tests.support.problem_checks import problem
from tests.support.running_service import API, KEPT, NO_TLS, Service

HTTP = resources.files("greenroom_platform.http")
FOLDER = HTTP / "page"
SCRIPT = "app.js"
MODULES = {entry.name for entry in FOLDER.iterdir() if entry.name.endswith(".js")} - {SCRIPT}
"""They are in the script."""
FILES = sorted({entry.name for entry in FOLDER.iterdir()} - MODULES)
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_SVG = "http://www.w3.org/2000/svg"


class Tags(HTMLParser):
    """Every tag of a page, with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))


@pytest.mark.parametrize("path", ["/", *(f"/page/{name}" for name in FILES)])
def test_each_file_is_served_with_its_type_a_validator_and_the_policy(service: Service, path: str) -> None:
    answer = service.client.get(path)
    media_type = TYPES[path.rpartition(".")[2] if "." in path else "html"]
    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] == media_type
    assert answer.headers["cache-control"] == "public, no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "microphone=()" in answer.headers["permissions-policy"]
    policy = dict(part.partition(" ")[::2] for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert {source for one in policy.values() for source in one.split()} <= {"'none'", "'self'", "blob:", "'script'"}

    again = service.client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])
    head = service.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize(
    "path", ["/page/dom.js", "/page/nobody.js", "/page/", "/page", "/page/..%2fapp.py", "/page/%2e%2e%2fapp.py"]
)
def test_any_other_file_is_a_problem_document(service: Service, path: str) -> None:
    problem(service.client.get(httpx.URL(f"{service.url}{path}")), 404, "not-found")


def test_a_browser_is_shown_a_page_at_a_wrong_address(service: Service) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    answer = service.client.get("/topics/ocean_science", headers=browser)
    assert (answer.status_code, answer.headers["vary"]) == (404, "Accept")
    assert "style-src 'self'" in answer.headers["content-security-policy"]
    tags = Tags(answer.text).found
    assert ("link", {"rel": "stylesheet", "href": "/page/style.css"}) in tags
    assert {a["href"] for tag, a in tags if tag == "a"} == {"/", "/#/newest"}
    assert service.client.head("/nowhere", headers=browser).headers["content-type"].startswith("text/html")
    # For what is shown without a page, browsers look here.
    icon = service.client.get("/favicon.ico")
    assert (icon.headers["content-type"], icon.content) == (
        "image/svg+xml",
        service.client.get("/page/icon.svg").content,
    )
    # Machines, and addresses of theirs, have what they always had.
    for path, headers in (("/nowhere", {}), (f"{API}/nowhere", browser), ("/page/nobody.js", browser)):
        problem(service.client.get(path, headers=headers), 404, "not-found")


def test_the_page_has_no_inline_code_and_names_existing_files_only(service: Service) -> None:
    tags = Tags(service.client.get("/").text).found
    for tag, attributes in tags:
        assert tag != "style"
        assert "src" in attributes or tag != "script"
        assert [name for name in attributes if name == "style" or name.startswith("on")] == []
    linked = [
        attributes.get("href") or attributes.get("src") or "" for tag, attributes in tags if tag in ("link", "script")
    ]
    assert {link.removeprefix("/page/") for link in linked} == set(FILES) - {"index.html", "not-found.html"}


@pytest.mark.parametrize(("path", "folder"), [("/page", "page"), ("/edit", "page_edit"), ("/control", "page_control")])
def test_every_module_of_a_page_is_in_its_script(service: Service, path: str, folder: str) -> None:
    names = [entry.name for entry in (HTTP / folder).iterdir() if entry.name.endswith(".js")]
    script = service.client.get(f"{path}/{SCRIPT}").raise_for_status().text
    modules = [name for name in names if name != SCRIPT and ".min." not in name]
    assert len(modules) > 10
    for name in modules:
        assert script.count(f"const ${path[1:]}_{name.removesuffix('.js')} = (() =>") == 1, name
    assert re.findall(r"^(?:import|export)\b.*", script, re.MULTILINE) == []


def test_nothing_is_named_on_another_host(service: Service) -> None:
    for path in ("/", *(f"/page/{name}" for name in FILES)):
        assert set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`)]*", service.client.get(path).text)) <= {_SVG}, path


def test_signing_out_takes_the_cookie_of_a_session_that_is_over(service: Service) -> None:
    """A page cannot give it up itself, and while it is sent no new session begins."""
    with httpx.Client(base_url=service.url, verify=NO_TLS, limits=KEPT) as browser:
        browser.patch(f"{API}/session/preferences", json={"playback_speed_default": 2}).raise_for_status()
        token = browser.cookies["greenroom"]
        browser.delete(f"{API}/session").raise_for_status()
        assert "greenroom" not in browser.cookies
        browser.cookies.set("greenroom", token, domain="127.0.0.1", path="/")
        problem(browser.patch(f"{API}/session/preferences", json={"playback_speed_default": 3}), 401, "unauthorized")
        assert browser.cookies["greenroom"] == token
        problem(browser.delete(f"{API}/session"), 401, "unauthorized")
        assert "greenroom" not in browser.cookies
        browser.patch(f"{API}/session/preferences", json={"playback_speed_default": 3}).raise_for_status()


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".css")])
def test_every_block_of_a_style_sheet_is_closed(name: str) -> None:
    """One that is left open swallows all that follows: it holds for some widths of the window only."""
    depth = 0
    for line in (FOLDER / name).read_text("utf-8").splitlines():
        assert depth == 0 or not line.startswith((".", "@", "/*")), line
        depth += line.count("{") - line.count("}")
    assert depth == 0
