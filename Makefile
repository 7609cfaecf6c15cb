# Greenroom: `make serve` and `make test` are all one needs. Python 3.11 or later and the package registry do the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
# Of `make torture`: how long, of which choices (without a seed one is made and printed), and on what: server, cluster or streams.
MINUTES ?= 5
SEED ?=
ON ?= server
# Of `make test`: what else pytest is told, as TESTS="-k near".
TESTS ?=

.PHONY: setup serve test bench torture fmt lock clean

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
	@exec $(BIN)/greenroom serve

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@# In two halves at once: most tests wait for servers, and one core would be idle. The first half's words come last.
	@halves() { ls tests/test_*.py | grep $$1 '/test_\([a-p]\|races\)'; }; said=$$(mktemp); \
	$(BIN)/pytest $(TESTS) $$(halves -e) >$$said 2>&1 & first=$$!; trap "kill $$first" INT TERM; \
	$(BIN)/pytest $(TESTS) $$(halves -v); second=$$?; wait $$first; first=$$?; cat $$said; rm -f $$said; \
	[ $$second = 0 ] && [ $$first = 0 ]

$(VENV)/.bench: requirements/bench.lock $(VENV)/.dev
	$(PIP) --require-hashes -r requirements/bench.lock
	@touch $@

bench: $(VENV)/.bench
	$(BIN)/python -m bench --write

torture: $(VENV)/.dev
	$(BIN)/python -m torture --minutes $(MINUTES) --on $(ON) $(if $(SEED),--seed $(SEED))

fmt: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.dev
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links \
	  --no-header --no-annotate --extra embedded --extra service --extra studio --output-file requirements/serve.lock pyproject.toml requirements/build.in requirements/platforms.in
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links \
	  --no-header --no-annotate --output-file requirements/dev.lock requirements/dev.in
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links \
	  --no-header --no-annotate --output-file requirements/bench.lock requirements/bench.in

clean:
	rm -rf $(VENV)
