# Greenroom: `make serve` and `make test` are all one needs. Python 3.11 or later and the package registry do the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
  --no-emit-index-url --no-emit-find-links $(NEWER)
# Of `make serve`: the port. On make's command line it wins; in the environment GREENROOM_PORT does.
PORT ?=
TAKEN_PORT = $(if $(PORT),GREENROOM_PORT=$(if $(filter command,$(origin PORT)),$(PORT),$${GREENROOM_PORT:-$(PORT)}))
# Of `make torture`: how long on each, of which choices (without a seed one is made and printed), and on what: server,
# cluster, replicas, or one after the other; or streams: 20,000 mutated ones.
MINUTES ?= 5
URL ?= http://127.0.0.1:8000
TOKEN ?=
SEED ?=
ON ?= all
# Of `make test` and `make unit`: what else pytest is told, as TESTS="-k near"; how many tests run at once (most wait for servers).
TESTS ?=
JOBS ?= 4
# Tests start some hundred programs: each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup serve lint type unit test bench torture torture-builds schemathesis fmt lock clean

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

serve: setup
	@exec env $(TAKEN_PORT) $(BIN)/greenroom serve

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

type: $(VENV)/.dev
	$(BIN)/mypy

# Seconds, and no server, browser or decoder: what is pure.
unit: $(VENV)/.dev
	$(BIN)/pytest tests/unit $(TESTS)

test: lint type
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(TESTS)

$(VENV)/.bench: requirements/bench.lock $(VENV)/.dev
	$(PIP) --require-hashes -r requirements/bench.lock
	@touch $@

bench: $(VENV)/.bench
	$(BIN)/python -m bench --write

torture: $(VENV)/.dev
	$(BIN)/python -m torture --minutes $(MINUTES) --on $(ON) $(if $(SEED),--seed $(SEED))

# Requests made from the API's description, against a service that runs at URL, for MINUTES.
schemathesis: $(VENV)/.dev
	$(BIN)/schemathesis run $(URL)/docs/openapi.json --phases coverage,fuzzing --max-time $$(( $(MINUTES) * 60 )) --checks not_a_server_error \
	  --exclude-path-regex '/(events|status)$$' --warnings off $(if $(TOKEN),-H "Authorization: Bearer $(TOKEN)")

# How long it takes to find each build that is broken on purpose; docs/torture.md has the table.
torture-builds: $(VENV)/.dev
	$(BIN)/python -m torture --builds

fmt: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One lock for every Python and platform: what only some of them need stands there with its marker. The versions in the
# locks are kept where they can be; to take newer ones: make lock NEWER=--upgrade, or NEWER='--upgrade-package httpx'.
lock: $(VENV)/.dev
	$(LOCK) --extra embedded --extra service --extra studio --output-file requirements/serve.lock pyproject.toml requirements/build.in
	$(LOCK) --output-file requirements/dev.lock requirements/dev.in
	$(LOCK) --output-file requirements/bench.lock requirements/bench.in

clean:
	rm -rf $(VENV)
