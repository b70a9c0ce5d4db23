# Two commands matter: `make demo` shows Stoker at work, `make test` is what CI runs.
# Everything is installed into .venv from lock files with hashes; only Python, pip and make are needed.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q
COMPILED := src/stoker/gateway/_compiled/manifest.json

.PHONY: demo test lint types format unit unit-compiled docs compiled bench bench-replay \
        bench-gateway chaos fuzz conformance lock protos changelog clean

demo: $(VENV)/.run                ## the tutorial on this machine, in about two minutes
	@$(BIN)/stoker demo $(ARGS)

test: lint types unit unit-compiled docs  ## lint, types, tests, documentation

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache 2>&1 | tail -n 12
	@$(BIN)/lint-imports --no-cache > /dev/null
	$(BIN)/codespell src tests docs examples README.md CONTRIBUTING.md Makefile

types: $(VENV)/.dev
	$(BIN)/mypy

unit: $(VENV)/.dev
	STOKER_COMPILED=0 $(BIN)/pytest $(ARGS)

unit-compiled: compiled           ## the gateway's tests once more, with compiled modules
	@test ! -e $(COMPILED) || STOKER_COMPILED=1 $(BIN)/pytest tests/gateway

compiled: $(VENV)/.dev            ## the gateway's data plane as compiled modules; needs a C compiler
	$(BIN)/python tools/compile.py

docs: $(VENV)/.dev
	$(BIN)/sphinx-build -q -n -W -b html docs docs/_build/html

bench: $(VENV)/.dev               ## measures, prints, and says how
	$(BIN)/python bench/run.py $(ARGS)

bench-replay: $(VENV)/.dev        ## replays alone; TRACE=FILE for the hour
	$(BIN)/python bench/run.py replay

bench-gateway: compiled           ## the gateway beside its peers; needs gcc
	$(BIN)/python bench/run.py gateway

chaos: $(VENV)/.dev               ## the gateway under load while all around it comes and goes
	$(BIN)/python -m tests.gateway.chaos $(ARGS)

fuzz: $(VENV)/.dev                ## any bytes from clients and replicas, for ten minutes
	$(BIN)/python -m tests.gateway.fuzzing $(ARGS)

conformance: $(VENV)/.run         ## recorded decisions of the real controllers, below DATA=DIR
	@$(BIN)/stoker conformance $(DATA)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.dev                ## writes the lock files anew from pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-annotate pyproject.toml --group package -o requirements/run.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-annotate pyproject.toml --extra all --group dev -o requirements/dev.lock

protos: $(VENV)/.dev              ## src/stoker/protocols/*_pb2.py from their .proto files
	$(BIN)/python -m grpc_tools.protoc -Isrc --python_out=src --pyi_out=src src/stoker/protocols/*.proto

changelog: $(VENV)/.dev           ## what the next release would say
	$(BIN)/towncrier build --draft

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Stoker needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1)"; \
	    echo; echo "hint: make demo PYTHON=/path/to/python3.11"; exit 2; }
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements/run.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing what Stoker needs ..."
	@$(PIP) install --require-hashes -r requirements/run.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.run
	@echo "Installing what the tests need ..."
	@$(PIP) install --require-hashes -r requirements/dev.lock
	@touch $@

clean:
	rm -rf $(VENV) docs/_build src/stoker/gateway/_compiled/*.so $(COMPILED) .mypy_cache .ruff_cache .pytest_cache
