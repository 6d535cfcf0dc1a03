# Everything starts with `make demo` (see it work) and `make test` (see it tested).
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
UV := $(BIN)/uv

# two processes of tests, and a thread for each training in them: threads that wait for one whose core
# another training has lose far more than the core
PYTEST_2 := OMP_NUM_THREADS=1 TUNESMITH_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

# the demo's data: your photos, or none for photos that the service draws itself
DATA ?=
PATTERN ?= ^(.+)_\d+\.jpg$$
ARCH ?=
WEIGHTS ?=

.PHONY: help install demo up test test-faults test-api-fuzz test-browser test-slow test-architectures test-compose test-fast check lint types arch fmt architectures lock clean openapi docs pictures bench bench-quick bench-gpu hooks

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## the environment in .venv, with the exact versions of requirements/

$(VENV)/.installed: pyproject.toml requirements/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv==0.13.9
	# compiled once here, or every process would compile what it imports (the API starts twice as fast)
	$(UV) pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes \
		-r requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	$(BIN)/python -m compileall -q api cli jobs ml tunesmith_client worker
	touch $@

demo: install ## the main job from nothing; DATA=dir PATTERN=regex ARCH=name WEIGHTS=DEFAULT for your photos
	$(BIN)/tunesmith demo $(if $(DATA),--data '$(DATA)' --pattern '$(PATTERN)') \
		$(if $(ARCH),--arch '$(ARCH)') $(if $(WEIGHTS),--weights '$(WEIGHTS)')

up: install ## the whole stack in this terminal, docs page on http://127.0.0.1:8000/docs
	$(BIN)/tunesmith up

test: install ## the tests, in two processes (a quarter of an hour); what takes longer has targets of its own
	$(PYTEST_2) -m 'not e2e and not browser'
	$(PYTEST_2) -m e2e

test-faults: install ## real faults: kills, wiped Redis, full disks, frozen workers (half an hour; root for the disks)
	$(BIN)/pytest --faults tests/faults -k 'not short'

test-api-fuzz: install ## schemathesis against the running stack (twenty minutes)
	$(BIN)/pytest --fuzz tests/e2e/test_api_fuzz.py -k long

test-browser: install ## the docs page in headless Chromium, every example tried out (five minutes)
	$(BIN)/pytest --slow -m browser

test-slow: install ## what the tests leave out for its time: rarer faults, larger nets, more examples (half an hour)
	$(PYTEST_2) --slow -m 'slow and not browser'
	$(BIN)/pytest --slow tests/jobs/test_state_machine.py

test-architectures: install ## every architecture for real (minutes, 16 GiB)
	$(BIN)/pytest --slow tests/ml/test_architectures.py

test-postgres: install ## store and API on a PostgreSQL server (needs Debian's package postgresql)
	$(BIN)/pytest -m postgres tests/jobs
	$(BIN)/pytest --postgres tests/api

test-compose: ## the containers for real: built, started, one fine-tune (needs docker compose, 20 GB)
	tests/compose/run.sh

test-fast: install ## the tests that start no stack
	$(BIN)/pytest -m 'not e2e and not browser'

check: lint types arch test ## what CI runs

lint: install ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## types, strictly
	$(BIN)/mypy
	MYPYPATH=benchmarks $(BIN)/mypy benchmarks/*.py

arch: install ## which package may import which
	$(BIN)/lint-imports --no-cache

fmt: install ## format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

architectures: install ## write the table of architectures anew from its rules
	$(BIN)/python -m ml.generate_architectures

LOCK = $(UV) pip compile --universal --generate-hashes --quiet --no-header --no-annotate

lock: install ## pin the newest versions that pyproject.toml allows
	$(LOCK) --upgrade --extra worker --extra embedded --extra otel --group dev pyproject.toml -o requirements/dev.txt
	# what the images install is a part of what is tested
	$(LOCK) -c requirements/dev.txt --extra objects --extra otel pyproject.toml -o requirements/api.txt
	$(LOCK) -c requirements/dev.txt --extra worker --extra otel pyproject.toml -o requirements/worker.txt
	printf 'setuptools\nuv==%s\n' "$$($(UV) --version | cut -d ' ' -f 2)" \
		| $(LOCK) -c requirements/dev.txt - -o requirements/build.txt

clean: ## remove the environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

openapi: install ## write the OpenAPI document that is served; a test compares it with the routes
	$(BIN)/python -m api.openapi_file

docs: install ## write the reference of request fields
	$(BIN)/python -m jobs.field_table > docs/fields.md

pictures: install ## make the pictures of docs/techniques.md anew, by its own requests (minutes)
	$(BIN)/python -m docs.pictures.make

bench: install $(PEERS)/.installed ## beside fastai and others, in one run (an hour; BENCH='--quick' three minutes)
	$(BIN)/python benchmarks/bench.py $(BENCH)

$(PEERS)/.installed: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(UV) pip install --quiet --python $(PEERS)/bin/python -r $<
	touch $@

bench-quick: install ## times of the main job, cold beside warm (a minute); OUT=--out keeps them as JSON
	$(BIN)/python benchmarks/quick.py $(OUT)

bench-gpu: install ## steps, their feed and whole runs on a GPU, beside fastai where it is installed (minutes)
	$(BIN)/python benchmarks/gpu.py $(OUT)

hooks: install ## style and format are checked at every commit
	$(BIN)/pre-commit install
