# Every target makes the environment first; that is quick when there is nothing to do.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= .data
PORT ?= 8000
MODEL ?=
PEERS := chatkit adk langgraph parlant
# Tests wait more than they compute: one worker more than there are cores.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
UI := $(shell find ui -type f -not -path '*/node_modules/*' -not -name schema.d.ts -not -name openapi.json)
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile
# On all cores, which pip does not; without it, each first start would compile what it imports.
COMPILE = $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib src || true
# Rewritten assertions are kept, whatever the environment says: rewriting them anew takes half a minute of each process.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(JOBS) --dist loadfile
HEAVY = $(shell grep -rl --include='test_*.py' 'pytest.mark.heavy' tests)

.DEFAULT_GOAL := help
.PHONY: help setup ui run demo test test-some test-light test-heavy check check-style check-types check-imports check-ui format bench bench-peers lock screenshots languages vectors clean

help: ## This list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 19

setup: $(VENV)/.run $(VENV)/.ui ## Make .venv with what running needs, and the web interface
	@:

$(VENV)/.run: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Tertulia needs Python 3.11 or newer: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python cannot make environments: install its venv module (Debian, Ubuntu: apt-get install python3-venv)." >&2; exit 1; }
	@echo "Setting up $(VENV) (once; about half a minute) ..."
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP) --require-hashes --only-binary :all: -r requirements.lock
	@$(PIP) --no-build-isolation --editable .
	@$(COMPILE)
	@touch $@

ui: $(VENV)/.run ## Build the web interface again, from ui/
	@$(BIN)/python ui/build.py
	@touch $(VENV)/.ui

# Where npm's registry cannot be reached the server runs all the same, and /ui/ says how to build it.
$(VENV)/.ui: $(VENV)/.run $(UI)
	@echo "Building the web interface (once; about half a minute) ..."
	@$(BIN)/python ui/build.py || echo "The web interface could not be built; the server runs without it. Later: make ui" >&2
	@touch $@

# What checks, tests and measures, besides.
$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "Adding the developers' tools to $(VENV) (once; about half a minute) ..."
	@$(PIP) --require-hashes --only-binary :all: -r requirements-dev.lock
	@$(COMPILE)
	@touch $@

run: setup ## Start a server with a demo organization (MODEL=scripted, PORT=8000, DATA=.data)
	@trap : INT; $(BIN)/tertulia run --data "$(DATA)" --port $(PORT) $(if $(MODEL),--model "$(MODEL)") || [ $$? -eq 130 ]

demo: setup ## One conversation over the HTTP API, every event shown
	@$(BIN)/tertulia demo

test: $(if $(ARGS),test-some,test-light test-heavy) ## Run the tests (ARGS="-k name" for some, JOBS=1)

test-some: $(VENV)/.dev
	@$(PYTEST) $(ARGS)

test-light: $(VENV)/.dev
	@$(PYTEST) -m "not heavy and not live" $(HEAVY:%=--ignore=%)

test-heavy: $(VENV)/.dev # Kills, hostile input, worker processes, a browser
	@$(PYTEST) -m "heavy and not live" $(HEAVY)

check: $(VENV)/.dev ## Format, lint, types and import rules
	@$(MAKE) --no-print-directory --jobs=2 --keep-going --output-sync check-types check-style check-imports check-ui

check-style:
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

check-types:
	@$(BIN)/basedpyright

check-imports:
	@$(BIN)/lint-imports

check-ui:
	@[ ! -e ui/node_modules/.fetched ] || $(BIN)/python ui/build.py check

format: $(VENV)/.dev ## Format, and repair what lint can repair
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## Measure, and write docs/reference/performance.md; with ARGS="--quick" only measure
	@$(BIN)/python -m bench $(or $(ARGS),--write docs/reference/performance.md)

bench-peers: $(addprefix .peers/,$(addsuffix /.done,$(PEERS))) ## Install other servers, each by itself, for bench to measure too
	@:

.peers/%/.done: bench/peers/%/requirements.txt
	@echo "Setting up .peers/$* ..."
	@$(PYTHON) -m venv --clear .peers/$*
	@.peers/$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

LOCK = $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --quiet \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate

lock: $(VENV)/.dev ## Pin every dependency with its hashes: of those who run it, and of its developers
	@$(LOCK) --all-extras --group dev --output-file requirements-dev.lock
	@$(LOCK) --all-extras --group build --constraints requirements-dev.lock --output-file requirements.lock

screenshots: $(VENV)/.dev # Take the pictures of the interface in docs/images again
	@$(BIN)/python tests/web/screenshots.py

languages: $(VENV)/.dev # Write the table of languages again, from the package that knows them
	@cd tests && ../$(BIN)/python -m support.languages

vectors: $(VENV)/.dev # Compute the vectors of the demo's sayings again, after a change of these
	@cd tests && ../$(BIN)/python -m support.demo_vectors

clean: ## Remove the environment, caches and the built interface; data stays
	rm -rf ui/node_modules src/tertulia/web/built $(VENV) .pytest_cache .ruff_cache
