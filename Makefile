# Every target makes the environment first; that is quick when there is nothing to do.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= .data
PORT ?= 8000
MODEL ?= local

.PHONY: setup lock run test check format bench demo clean

setup: $(VENV)/.done

$(VENV)/.done: requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: setup ## Start a server with a demo organization and a small local model
	@$(BIN)/tertulia run --data $(DATA) --port $(PORT) --model $(MODEL)

demo: setup ## One conversation over the HTTP API, every event shown
	@$(BIN)/tertulia demo

test: setup
	@$(BIN)/python -m pytest $(ARGS)

check: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports

format: setup
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup
	@$(BIN)/python -m bench

lock: setup ## Pin every dependency with its hashes
	@$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --output-file requirements.lock

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
