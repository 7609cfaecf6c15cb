"""`make dist`: what it builds holds, and each of its checks finds what it is for."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from release import contents, environments, versions
from release.__main__ import main
from release.build import build, checked
from release.registry import NO_ANSWER
from tests.support.clean_clone import clean_clone
from tests.support.repository import ROOT

ADDRESS = "https://forge.example/greenroom"
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution and the wheel of this tree, with an address."""
    return build(tmp_path_factory.mktemp("dist"), checked(f"{ADDRESS}/"))


@pytest.fixture(scope="module")
def wheel(built: tuple[Path, Path]) -> Files:
    return contents.wheel_files(built[1])


@pytest.fixture(scope="module")
def source(built: tuple[Path, Path]) -> Files:
    return contents.source_files(built[0])


def wheel_faults(files: Files, *, size: int = 1, version: str = "", root: str = ADDRESS) -> list[str]:
    return list(contents.wheel_faults(files, size=size, version=version or versions.version(), root=root))


def source_faults(files: Files, *, size: int = 1) -> list[str]:
    return list(contents.source_faults(files, size=size, version=versions.version()))


def test_the_files_of_this_tree_have_no_fault(built: tuple[Path, Path], wheel: Files, source: Files) -> None:
    assert not wheel_faults(wheel, size=built[1].stat().st_size)
    assert not source_faults(source, size=built[0].stat().st_size)
    kinds = {Path(name).suffix for name in wheel if ".dist-info/" not in name}
    assert kinds >= {".py", ".lua", ".sql", ".ndjson", ".js", ".css", ".html", ".typed"}
    readme = str(contents.metadata_of(wheel).get_payload())
    for target in (
        "raw/main/docs/images/page-wide.png",
        "tree/main/examples",
        "blob/main/docs/operations.md#first-requests",
    ):
        assert f"]({ADDRESS}/{target})" in readme
    # In the repository no address is written down.
    assert "[project.urls]" not in (ROOT / "pyproject.toml").read_text("utf-8")
    assert "](docs/" in (ROOT / "README.md").read_text("utf-8")


def without(name: str) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        del files[next(one for one in files if one.endswith(name))]

    return change


def with_file(name: str, content: bytes) -> Callable[[Files], None]:
    return lambda files: files.update({name: content})


def in_metadata(old: str, new: str) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        (name,) = (one for one in files if one.endswith("/METADATA"))
        assert old.encode() in files[name]
        files[name] = files[name].replace(old.encode(), new.encode(), 1)

    return change


PAGE = "greenroom_platform/http/page/app.js"
PLANTED = {
    "a module is left out": (without("greenroom/errors.py"), "greenroom/errors.py is missing"),
    "a script is left out": (without("lua/fill.lua"), "greenroom/engine/lua/fill.lua is missing"),
    "no py.typed": (without("greenroom_platform/py.typed"), "greenroom_platform/py.typed is missing: type checkers"),
    "the tests are in it": (with_file("tests/test_a.py", b""), "tests/test_a.py does not belong to the packages"),
    "a font": (with_file("greenroom_platform/http/page/a.woff2", b"\0"), "a.woff2 looks like somebody else's work"),
    "a minified script": (with_file(PAGE, b"a" * 3000), f"{PAGE} looks like somebody else's work"),
    "somebody's notice": (with_file(PAGE, b"/*! swagger */"), f"{PAGE} looks like somebody else's work"),
    "no licence": (without("licenses/LICENSE"), "LICENSE of the repository is not in it"),
    "another version": (in_metadata("\nVersion: ", "\nVersion: 1"), "its metadata say Version: 1"),
    "another licence": (in_metadata("Expression: Apache", "Expression: MIT"), "License-Expression: MIT-2.0"),
    "no extra": (in_metadata("Provides-Extra: rq\n", ""), "differ in Provides-Extra: rq"),
    "no metadata": (without("/METADATA"), "its metadata have no README"),
    "a relative link": (in_metadata(f"]({ADDRESS}/blob/main/", "]("), "leads nowhere on a package index"),
    "a dead link": (in_metadata("/blob/main/docs/", "/blob/main/dcos/"), "leads to no file of the repository"),
    "a foreign address": (in_metadata(f"Homepage, {ADDRESS}", "Homepage, https://a.example"), "which is not at"),
    "a path of the builder": (with_file(PAGE, str(ROOT).encode()), f"{PAGE} names the directory"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_of_a_wheel_is_found(fault: str, wheel: Files) -> None:
    change, told = PLANTED[fault]
    files = dict(wheel)
    change(files)
    found = wheel_faults(files)
    assert any(told in one for one in found), found


def test_a_planted_fault_of_a_source_distribution_is_found(source: Files) -> None:
    for change, told in (
        (without("examples/only_caches.py"), "examples/only_caches.py is missing"),
        (without("NOTICE"), "NOTICE is missing"),
        (with_file("docs/mermaid.min.js", b"a" * 3000), "docs/mermaid.min.js is somebody else's work"),
        (with_file("PKG-INFO", b"Version: 7\n"), "its metadata say version 7"),
    ):
        files = dict(source)
        change(files)
        assert any(told in one for one in source_faults(files)), told
    named = source | {"docs/a.min.js": b"a" * 3000, "NOTICE": source["NOTICE"] + b"`docs/a.min.js`: MIT, by A\n"}
    assert not source_faults(named)
    assert "it has 9,000,000 bytes" in source_faults(source, size=9_000_000)[0]


def test_a_wheel_that_grew_beyond_its_limit_is_found(wheel: Files) -> None:
    assert wheel_faults(wheel, size=2_000_000) == ["it has 2,000,000 bytes; a wheel may have 1,500,000"]


@pytest.mark.parametrize(
    ("current", "sections", "final", "told"),
    [
        ("0.2.0.dev0", "[Unreleased]\n- a\n## [0.1.0] - 2026-01-01\n- b", False, ""),
        ("0.2.0", "[Unreleased]\n\n## [0.2.0] - 2026-01-02\n- a\n## [0.1.0] - 2026-01-01\n- b", True, ""),
        ("0.1.0", "[Unreleased]\n- a\n## [0.1.0] - 2026-01-01\n- b", False, "0.1.0 is released, and CHANGELOG.md has"),
        ("0.1.0", "[Unreleased]\n\n## [0.2.0] - 2026-01-01\n- b", False, "0.1.0 is older than 0.2.0"),
        ("0.2", "[Unreleased]\n\n## [0.1.0] - 2026-01-01\n## [0.2] - 2026-01-02", False, "does not come first"),
        ("0.2.0", "[Unreleased]\n\n## [0.2.0]\n- a", False, "the section [0.2.0] has no version or no day"),
        ("0.2.0", "[Unreleased]\n\n## [0.2.0] - 2027-01-01\n- a", True, "the section [0.2.0] has no version or no day"),
        ("0.2.0", "[0.2.0] - 2026-01-02\n- a", True, 'it has no section "## [Unreleased]"'),
        ("0.2.0.dev0", "[Unreleased]\n\n## [0.1.0] - 2026-01-01", True, "0.2.0.dev0 is no release"),
        ("0.2.0", "[Unreleased]\n\n## [0.1.0] - 2026-01-01", True, "it has no section [0.2.0]"),
        ("0.2.0", "[Unreleased]\n- a\n## [0.1.0] - 2026-01-01", True, 'there are entries under "Unreleased"'),
        ("newest", "[Unreleased]", False, "'newest' is no version"),
    ],
)
def test_the_version_and_the_changelog_agree(current: str, sections: str, final: bool, told: str) -> None:
    changelog = f"# Changelog\n\n## {sections}\n"
    found = list(versions.version_faults(current, changelog, final=final, today=date(2026, 6, 1)))
    assert any(told in one for one in found) if told else not found, found


def test_the_version_of_this_tree_is_that_of_its_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert not list(versions.version_faults(versions.version(), changelog, final=False, today=date.today()))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--final"], "URL: missing"),
        (["--final", "--files"], "leave out --files and --extra"),
        (["--final", "--extra", "cli"], "leave out --files and --extra"),
        (["--url", "forge.example"], "URL=forge.example: invalid address"),
    ],
)
def test_what_cannot_be_released_says_why_and_builds_nothing(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--output", str(tmp_path / "dist")]) == 1
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_tree_is_released_when_it_is_committed_and_its_tag_is_free(tmp_path: Path) -> None:
    clone = clean_clone(tmp_path / "greenroom")
    for name, old, new in (
        ("src/greenroom/__init__.py", f'"{versions.version()}"', '"7.0.0"'),
        ("CHANGELOG.md", "## [Unreleased]\n", "## [Unreleased]\n\n## [7.0.0] - 2026-01-01\n"),
    ):
        text = (clone / name).read_text("utf-8")
        assert old in text
        (clone / name).write_text(text.replace(old, new, 1), "utf-8")

    def run(*command: str) -> str:
        identity = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        done = subprocess.run(
            command, cwd=clone, env=os.environ | identity, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout + done.stderr

    def told() -> str:
        return run(".venv/bin/python", "-m", "release", "--final", "--ready", "--url", ADDRESS)

    for command in (["init"], ["add", "."], ["commit", "-m", "7"], ["tag", "v7.0.0"]):
        run("git", *command)
    assert told() == ""
    (clone / "README.md").write_text("changed")
    assert "the tree has changes that are not committed" in told()
    run("git", "commit", "--quiet", "-a", "-m", "8")
    assert "the tag v7.0.0 is at another commit" in told()


def test_the_trials_cover_every_extra() -> None:
    extras = environments.extras()
    assert set(environments.PLACES) == {*extras} - {"all"}


def test_the_trials_find_each_python_of_the_machine_once() -> None:
    found = environments.pythons()
    assert len({python.path.resolve() for python in found}) == len(found)
    assert sys.version_info[:3] in [tuple(map(int, python.version.split("."))) for python in found]


def test_an_environment_in_which_the_wheel_fails_is_told(
    built: tuple[Path, Path], wheel: Files, tmp_path: Path
) -> None:
    broken = tmp_path / built[1].name
    with zipfile.ZipFile(broken, "w") as archive:
        for name, content in wheel.items():
            if name != "greenroom/keyspace/parts.py":
                archive.writestr(name, content)
    python = environments.Python(Path(sys.executable), ".".join(map(str, sys.version_info[:3])))
    (trial,) = environments.trials(broken, "valkey://127.0.0.1:1", [python], [environments.BARE])
    if trial.step == "install" and any(words in trial.reason for words in NO_ANSWER):
        pytest.skip("the package registry cannot be reached")
    assert (trial.step, "greenroom.keyspace.parts" in trial.reason) == ("import", True), trial.reason
    assert f"| {environments.BARE} | **import failed** |" in environments.table([trial])


def test_an_installed_wheel_runs(built: tuple[Path, Path], tmp_path: Path) -> None:
    zipfile.ZipFile(built[1]).extractall(tmp_path)  # a pure wheel is installed by unpacking it
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    for command in (["-m", "greenroom", "definitions"], ["-c", "import greenroom; print(greenroom.__file__)"]):
        run = subprocess.run(
            [sys.executable, *command], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(str(tmp_path))
