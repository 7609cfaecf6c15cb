# Greenroom: `make serve` runs the service, `make test` runs all tests. Both need Python 3.11 or later and access to PyPI.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
  --no-emit-index-url --no-emit-find-links $(NEWER)
# For `make serve`: the port. On make's command line PORT wins over GREENROOM_PORT; in the environment GREENROOM_PORT wins, unless
# it is the address that Kubernetes sets for a Service.
PORT ?=
PORT_WINS = $(or $(filter command,$(origin PORT)),$(findstring ://,$(GREENROOM_PORT)),$(if $(GREENROOM_PORT),,alone))
# For `make torture`: minutes on each target; the seed of its choices (without one, a seed is made and printed); and the target:
# server, cluster or replicas, or all for one after the other. `streams` runs 20,000 mutated streams instead, or the one with the
# number STREAM.
MINUTES ?= 5
SEED ?=
ON ?= all
STREAM ?=
# For `make test` and `make unit`: more arguments for pytest, such as TESTS="-k near"; and the number of tests that run at the same
# time (most of them wait for servers).
TESTS ?=
JOBS ?= 6
# For `make test` itself: what ends before the tests begin, `lint` also before the types are looked at.
FIRST :=
# For `make bench`: groups to measure and print, such as ONLY=cold. Without it all are measured and written to docs/performance.md.
ONLY ?=
# For `make schemathesis`: the address of a running service, and the editor token for the editor's role.
SERVICE ?= http://127.0.0.1:8000
TOKEN ?=
# For `make dist`, `make release` and `make docs`: the public address of the project's repository.
URL ?=
# Tests start some hundred programs. Without bytecode files each of them would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup serve lint type unit test tests node compiled bench torture torture-builds schemathesis fmt lock dist release docs images clean

setup: $(VENV)/.serve

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Greenroom needs Python 3.11 or later; name it: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: requirements/serve.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) --require-hashes -r requirements/serve.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.serve
	$(PIP) --require-hashes -r requirements/dev.lock
	@touch $@

serve: export TAKEN_PORT = $(if $(PORT_WINS),$(PORT),$(GREENROOM_PORT))
serve: setup
	@exec env $(if $(PORT),GREENROOM_PORT="$$TAKEN_PORT") $(BIN)/greenroom serve

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: $(VENV)/.dev $(filter lint,$(FIRST))
	$(BIN)/mypy

# The tests that need no server, browser or decoder: they take seconds.
unit: $(VENV)/.dev
	$(BIN)/pytest tests/unit $(TESTS)

test: $(VENV)/.dev node
	@$(MAKE) --no-print-directory -j3 FIRST="lint compiled" type tests

# All tests, without what goes before them.
tests: $(FIRST)
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(TESTS)

# What the tests of TypeScript, of pyright and of the API's description run; without npm, or without its registry, they are skipped and say so.
node: requirements/node/package-lock.json
	@command -v npm >/dev/null || exit 0; [ requirements/node/node_modules/.package-lock.json -nt $< ] \
	  || npm ci --silent --no-audit --no-fund --prefix requirements/node \
	  || echo "not installed: what requirements/node names; the tests of TypeScript, of pyright and of the API's description are skipped" >&2

# The bytecode of all tests. Each worker process of `make test` would compile all of them. What cannot be collected is told
# by the run itself.
compiled: $(VENV)/.dev
	@$(BIN)/pytest --collect-only -qq $(TESTS) >/dev/null || true

$(VENV)/.bench: requirements/bench.lock $(VENV)/.dev
	$(PIP) --require-hashes -r requirements/bench.lock
	@touch $@

bench: $(VENV)/.bench
	$(BIN)/python -m bench $(or $(ONLY),--write)

torture: $(VENV)/.dev
	$(BIN)/python -m torture --minutes $(MINUTES) --on $(ON) $(if $(SEED),--seed $(SEED)) $(if $(STREAM),--stream $(STREAM))

# Requests made from the API's description, against a service that runs at SERVICE, for MINUTES.
schemathesis: $(VENV)/.dev
	$(BIN)/schemathesis run $(SERVICE)/docs/openapi.json --phases coverage,fuzzing --max-time $$(( $(MINUTES) * 60 )) \
	  --checks not_a_server_error --exclude-path-regex '/(events|status)$$' --warnings off \
	  $(if $(TOKEN),-H "Authorization: Bearer $(TOKEN)")

# Measures the time until each deliberately broken build is found; docs/torture.md has the table.
torture-builds: $(VENV)/.dev
	$(BIN)/python -m torture --builds

fmt: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One lock for all Pythons and platforms: a package that only some of them need has a marker. Versions in the locks are kept if
# possible. To take newer ones: make lock NEWER=--upgrade, or NEWER='--upgrade-package httpx'.
lock: $(VENV)/.dev
	$(LOCK) --extra embedded --extra mongodb --extra service --extra studio --output-file requirements/serve.lock pyproject.toml requirements/build.in
	$(LOCK) --output-file requirements/dev.lock requirements/dev.in
	$(LOCK) --output-file requirements/bench.lock requirements/bench.in
	$(LOCK) --output-file requirements/dist.lock requirements/dist.in
	$(LOCK) --output-file requirements/docs.lock requirements/docs.in

$(VENV)/.dist: requirements/dist.lock $(VENV)/.dev
	$(PIP) --require-hashes -r requirements/dist.lock
	@touch $@

# Builds the source distribution and the wheel in dist/, checks them, and installs the wheel with each extra on every Python of this
# machine. With an address they get links: make dist URL=https://…
dist: $(VENV)/.dist
	$(BIN)/python -m release $(if $(URL),--url $(URL))

# All checks of a release, and then what to upload. It uploads nothing.
release: $(VENV)/.dist
	$(BIN)/python -m release --final --url "$(URL)" --ready
	$(MAKE) test
	$(MAKE) torture
	$(BIN)/python -m release --final --url "$(URL)"

# docs/decisions/0107-the-site-is-built-from-the-repository-alone.md
$(VENV)/.docs: requirements/docs.lock $(VENV)/.serve
	$(PIP) --require-hashes -r requirements/docs.lock
	@touch $@

# Builds the documentation site in site/; a dead link, or a page that is in no menu, is an error. With an address the files of the
# repository are linked: make docs URL=https://…
# Not --quiet: MkDocs counts the warnings that it prints, and --strict would find none.
docs: $(VENV)/.docs
	@GREENROOM_URL="$(URL)" NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict \
	  && echo "the site is in site/index.html; its search needs a server: $(BIN)/python -m http.server -d site --bind 127.0.0.1 8080"

# Takes the README's pictures of the page again. It needs Chromium.
images: $(VENV)/.dev
	$(BIN)/python docs/images/take.py

clean:
	rm -rf $(VENV)
