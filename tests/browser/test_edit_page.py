"""The editor's page: everything that an editor does, in one sitting; axe-core finds nothing in any of its states."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from playwright.sync_api import Dialog, Page, expect

from tests.support.axe_audit import WIDE, clean
from tests.support.process_tree import ON_LINUX, servers
from tests.support.running_service import API, CONTROL_TOKEN, TOKEN, Service
from tests.support.staff_desk import press
from tests.support.visitors import WITH_CHROMIUM, Visit, Visitor, visit

pytestmark = [WITH_CHROMIUM, ON_LINUX]

FOLDER = resources.files("greenroom_platform.http") / "page_edit"
FILES = {entry.name for entry in FOLDER.iterdir() if not entry.name.endswith(".js")} | {"app.js"}
SVG = "http://www.w3.org/2000/svg"
TOPIC = {"topic_id": "edited", "display_name": "Edited", "description": "Before.", "keywords": ["one", "two"]}
STORY = {"snippet_id": "edited-1", "topic_id": "edited", "title": "A story", "text_content": "Some words of a text."}
MOMENT = r"\d\d:\d\d:\d\d\.\d{3}"
LATER = rf"by {MOMENT}, after \d+ seconds? in the outbox"
"""As it is told where Valkey was slow to answer, on a busy machine too."""


def lines(*objects: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in objects)


def stored(service: Service, path: str) -> dict[str, Any]:
    found: dict[str, Any] = service.client.get(f"{API}/{path}").json()
    return found


def write(service: Service, path: str, **members: Any) -> None:
    """What another editor does meanwhile."""
    accepted = ("display_name", "description", "keywords", "topic_id", "title", "text_content")
    now = {name: value for name, value in stored(service, path).items() if name in accepted}
    if path.startswith("topics"):
        now.pop("topic_id", None)
    service.client.put(f"{API}/{path}", json=now | members, headers=service.editor).raise_for_status()


def heading(page: Page, name: str) -> None:
    expect(page.get_by_role("heading", name=name, exact=True, level=1)).to_be_visible()


def give(page: Page, name: str, content: bytes) -> None:
    page.locator("#file").set_input_files({"name": name, "mimeType": "application/x-ndjson", "buffer": content})


@contextmanager
def valkey_stopped(service: Service) -> Iterator[None]:
    """The server of the caches stands still meanwhile, as a machine that is cut off."""
    (server,) = servers(service.data_dir)
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


def test_one_edits_from_signing_in_to_signing_out(service: Service, visitor: Visit, tmp_path: Path) -> None:
    load(service, lines(TOPIC, STORY))
    editor = visitor(reduced_motion="reduce", viewport=WIDE, accept_downloads=True)
    page = editor.open("edit")
    page.on("dialog", Dialog.accept)  # of a reload with drafts
    receipt = page.locator("#receipt")

    # A wrong token, then the right one.
    page.get_by_label("Your name").fill("Ann")
    page.get_by_label("Editor token").fill("wrong-token-of-nobody")
    press(page, "Sign in")
    expect(page.locator("form > .refusal")).to_contain_text("neither the editor token nor the control token")
    clean(page)
    page.get_by_label("Editor token").fill(TOKEN)
    press(page, "Sign in")
    heading(page, "Library")
    expect(page.locator("#who")).to_have_text("Ann")
    clean(page)
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert TOKEN not in kept
    assert "greenroom-staff=" not in kept

    # The list is filtered as one types.
    page.locator("#search").fill("Edit")
    expect(page.locator(".entries [data-id]")).to_have_text(["Edited"])
    expect(page.locator("#stories-title")).to_have_text("Stories with “Edit”")
    clean(page)
    page.locator("#search").fill("")
    page.locator(".entries [data-id=edited]").click()
    heading(page, "Edited")
    expect(page.locator(".row h3")).to_have_text(["A story"])
    clean(page)

    # A topic is made, with its id suggested; an id that is taken is said at the field.
    page.get_by_role("link", name="New topic").click()
    heading(page, "New topic")
    page.get_by_label("Name").fill("Édited")
    expect(page.get_by_label("Id", exact=True)).to_have_value("edited")
    page.get_by_label("Description").fill("By <b>Ann</b>.")
    expect(page.locator(".preview .card .about")).to_have_text("By <b>Ann</b>.")
    press(page, "Create")
    expect(page.locator("#edit-topic_id-refusal")).to_contain_text("is taken")
    clean(page)
    page.get_by_label("Id", exact=True).fill("edited_too")
    page.get_by_label("Keywords").fill("sea\n\n salt ")
    press(page, "Create")
    heading(page, "Édited")
    expect(receipt).to_contain_text(
        re.compile(rf"^Created\. Dropped from Valkey (?:at {MOMENT}, [\d.]+ ms after the commit|{LATER})")
    )
    expect(receipt).to_contain_text(
        "the topic, the list of topics and every search. Other servers’ near caches: 0.75 s later at most."
    )
    assert stored(service, "topics/edited_too")["keywords"] == ["sea", "salt"]

    # A story is made and changed; the receipt names the keys, and the next read has it.
    page.get_by_role("link", name="New story").last.click()
    heading(page, "New story")
    expect(receipt).to_be_empty()
    press(page, "Create")
    expect(page.locator("#edit-title-refusal")).to_have_text("Title is missing.")
    page.get_by_label("Title").fill("A second story")
    page.get_by_label("Text").fill("Ten words that are spoken in about as many seconds.")
    expect(page.locator("#edit-text_content-length")).to_have_text("10 words, about 4 seconds when it is spoken")
    page.get_by_label("Picture").fill("https://pictures.example/sea.png")
    expect(page.locator(".preview .snippet")).to_contain_text("Picture at pictures.example")
    press(page, "Create")
    heading(page, "A second story")
    page.get_by_label("Title").fill("A changed story")
    expect(page.locator(".unsaved a")).to_have_text(["A changed story"])
    page.keyboard.press("Control+s")
    heading(page, "A changed story")
    expect(receipt).to_contain_text("the story, 2 pages and every search")
    expect(receipt).to_contain_text(re.compile(r"it is the new version\.|in the outbox: "))
    receipt.get_by_text("Keys").click()
    expect(receipt.locator("code").filter(has_text=re.compile("^cache:snippet:[0-9a-f]{32}$"))).to_be_visible()
    expect(page.locator(".unsaved a")).to_have_count(0)
    clean(page)

    conflicts(service, page)
    ended_session(editor, page)
    outage(service, page)
    deletions(service, page)
    load_and_export(service, page, tmp_path)

    press(page, "Sign out")
    expect(page.get_by_label("Editor token")).to_be_visible()
    assert editor.context.cookies() == []
    assert page.evaluate("fetch('/api/v1/export').then(({ status }) => status)") == 401


def conflicts(service: Service, page: Page) -> None:
    """Somebody else writes meanwhile: nobody's words are lost."""
    visit(page, "#/stories/edited-1")
    heading(page, "A story")
    page.get_by_label("Text").fill("Some words of my text.")
    write(service, "snippets/edited-1", title="Their story", text_content="Some words of their text.")
    press(page, "Save")
    clash = page.locator(".conflict")
    expect(clash.locator("h3").first).to_have_text("Title only they have changed it")
    expect(clash.locator("[data-field=text_content] .theirs mark")).to_have_text(["their"])
    expect(clash.locator("[data-field=text_content] .mine mark")).to_have_text(["my"])
    assert stored(service, "snippets/edited-1")["text_content"] == "Some words of their text."
    clean(page)
    press(clash, "Merge by hand")
    expect(clash.get_by_label("Title")).to_have_value("Their story")
    clash.get_by_label("Text").fill("Some words of our text.")
    clean(page)
    # A third version while one merges: it is asked again.
    write(service, "snippets/edited-1", title="Once more")
    press(clash, "Save the merged version")
    expect(clash.locator("[data-field=title] .theirs")).to_contain_text("Once more")
    press(clash, "Keep mine")
    heading(page, "Their story")
    expect(page.locator("#receipt")).to_contain_text("Saved.")
    assert stored(service, "snippets/edited-1")["text_content"] == "Some words of our text."

    page.get_by_label("Text").fill("To be given up.")
    write(service, "snippets/edited-1", text_content="Theirs again.")
    press(page, "Save")
    press(clash, "Take theirs")
    expect(page.get_by_label("Text")).to_have_value("Theirs again.")
    expect(page.locator(".unsaved a")).to_have_count(0)


def ended_session(editor: Visitor, page: Page) -> None:
    """The session ends and the page is left: what was typed stays, and is saved when one has signed in again."""
    page.get_by_label("Text").fill("Typed before the session ended.")
    visit(page, "#/topics/edited")
    expect(page.locator(".row .badge")).to_have_text(["not saved yet"])
    page.reload()
    page.locator(".unsaved a").click()
    expect(page.get_by_label("Text")).to_have_value("Typed before the session ended.")
    editor.context.clear_cookies(name="greenroom-staff")
    press(page, "Save")
    question = page.get_by_role("dialog")
    expect(question).to_contain_text("What you have typed is still here")
    clean(page)
    press(question, "Not now")
    expect(page.locator(".trouble")).to_contain_text("not signed in any more")
    press(page, "Save")
    expect(question.get_by_label("Your name")).to_have_value("Ann")
    question.get_by_label("Editor token").fill(TOKEN)
    press(question, "Sign in")
    expect(page.locator("#receipt")).to_contain_text("Saved.")
    expect(page.get_by_label("Text")).to_have_value("Typed before the session ended.")


def outage(service: Service, page: Page) -> None:
    """Valkey stands still: the edit is made, and the page tells that it waits, until it does not."""
    receipt = page.locator("#receipt")
    with valkey_stopped(service):
        page.get_by_label("Title").fill("Written without Valkey")
        press(page, "Save")
        expect(receipt).to_contain_text("Saved, and waiting in the outbox.")
        heading(page, "Written without Valkey")
        clean(page)
    expect(receipt).to_contain_text(re.compile(rf"^Saved\. Dropped from Valkey {LATER}"))


def deletions(service: Service, page: Page) -> None:
    """A question first; a topic with stories stays, and so does what was changed meanwhile."""
    question = page.get_by_role("dialog")
    visit(page, "#/topics/edited/edit")
    press(page, "Delete topic")
    clean(page)
    press(question, "Delete topic")
    expect(question.get_by_role("alert")).to_contain_text("still has stories")
    question.get_by_role("link", name="Show its stories").click()
    expect(question).to_have_count(0)
    page.get_by_role("link", name="Written without Valkey").click()
    heading(page, "Written without Valkey")
    write(service, "snippets/edited-1", title="Changed meanwhile")
    press(page, "Delete story")
    press(question, "Delete story")
    expect(question.get_by_role("alert")).to_contain_text("Somebody else has changed it")
    press(question, "Show it as it is now")
    heading(page, "Changed meanwhile")
    press(page, "Delete story")
    press(question, "Cancel")
    press(page, "Delete story")
    press(question, "Delete story")
    heading(page, "Edited")
    expect(page.locator("#receipt")).to_contain_text("Deleted. Dropped from Valkey")
    expect(page.locator("#receipt")).to_contain_text("the story, 2 pages and every search")
    assert service.client.get(f"{API}/snippets/edited-1").status_code == 404

    # What others have deleted can be made anew, of what was typed.
    page.get_by_role("link", name="Edit topic").click()
    page.get_by_label("Description").fill("Kept.")
    service.client.delete(f"{API}/topics/edited", headers=service.editor).raise_for_status()
    press(page, "Save")
    expect(page.locator(".conflict")).to_contain_text("Somebody else has deleted it meanwhile")
    clean(page)
    press(page, "Make it anew")
    expect(page.locator("#receipt")).to_contain_text("Created.")
    assert stored(service, "topics/edited")["description"] == "Kept."


def load_and_export(service: Service, page: Page, directory: Path) -> None:
    """A file is looked at before it is loaded; and everything comes out as one that can be loaded again."""
    outcome = page.locator(".outcome")
    page.locator("#nav").get_by_role("link", name="Load").click()
    heading(page, "Load and export")
    page.get_by_text("What a file looks like").click()
    clean(page)
    give(page, "empty.ndjson", b"")
    expect(outcome).to_contain_text("The file is empty.")
    content = lines(TOPIC | {"description": "Loaded."}, STORY | {"topic_id": "nowhere"}) + b"no json\n"
    # Dropped anywhere on the page.
    page.evaluate(
        """text => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([text], 'dropped.ndjson'));
          const drop = new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true });
          document.querySelector('.foot').dispatchEvent(drop);
        }""",
        content.decode(),
    )
    expect(outcome.locator("h3")).to_have_text("dropped.ndjson")
    expect(outcome).to_contain_text("1 topic can be loaded; 2 lines cannot.")
    expect(outcome.locator("td.number")).to_have_text(["2", "3"])
    expect(outcome.locator("td .line").last).to_have_text("no json")
    assert stored(service, "topics/edited")["description"] == "Kept."
    clean(page)
    press(outcome, "Load the good line")
    expect(page.locator("#receipt")).to_contain_text("Loaded. 1 topic from dropped.ndjson. 2 lines left out.")
    assert stored(service, "topics/edited")["description"] == "Loaded."
    clean(page)

    with page.expect_download() as download:
        press(page, "Export everything")
    path = directory / download.value.suggested_filename
    download.value.save_as(path)
    objects = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert stored(service, "topics/edited") in objects
    expect(page.locator(".export [role=status]")).to_contain_text(f"{len(objects)} lines")
    again = load(service, path.read_bytes())
    assert (again["bad"], again["changes"]) == ([], 0)


def load(service: Service, content: bytes) -> dict[str, Any]:
    answer = service.client.post(f"{API}/load", content=content, headers=service.editor)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def test_who_may_only_look_is_sent_to_the_control_room(visitor: Visit) -> None:
    page = visitor(reduced_motion="reduce", viewport=WIDE).open("edit")
    page.get_by_label("Your name").fill("Bob")
    page.get_by_label("Editor token").fill(CONTROL_TOKEN)
    press(page, "Sign in")
    heading(page, "You may look, and change nothing")
    expect(page.get_by_role("link", name="To the control room")).to_have_attribute("href", "/control")
    clean(page)


def test_the_editor_s_page_names_existing_files_and_no_other_host(service: Service) -> None:
    page = service.client.get("/edit").text
    assert set(re.findall(r'"/edit/([^"]+)"', page)) == FILES - {"index.html"}
    for name in FILES - {"index.html"}:
        answer = service.client.get(f"/edit/{name}")
        assert answer.status_code == 200
        assert "'none'" in answer.headers["content-security-policy"]
        assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+", answer.text.replace(SVG, "")) == []
