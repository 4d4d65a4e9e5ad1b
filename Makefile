# Six verbs: run, test, check, bench, soak, docs. Set-up is a dependency of each and does nothing when it is done.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

NO_INDEX = { echo "the package index cannot be reached (or lacks a pinned package); without internet see \
docs/howto/operate.md"; exit 1; }

.DEFAULT_GOAL := help
.PHONY: help run test lint check unit bench fuzz soak docs lock clean

help:
	@echo "make run     the demo city with its page, in the foreground; Ctrl-C stops it"
	@echo "make test    all tests, on a real database and broker"
	@echo "make check   lint, types, import rules, unit tests"
	@echo "make bench   benchmarks, as tables"
	@echo "make fuzz    garbage into every decoder of other vendors' formats, for a minute"
	@echo "make soak    the long proofs that nothing is lost, about an hour; one of them: make soak ONLY='kills --seed 7'"
	@echo "make docs    the parts of docs/ that are made from code"

# The environment is made anew when the lock or the Python version changes.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Gridpulse needs Python 3.11 or newer; set PYTHON=python3.x")'
	@echo "setting up $(VENV) (pinned and hashed dependencies)"
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt-get install python3-venv"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock || $(NO_INDEX)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(READY)
	@$(BIN)/gridpulse up

# Those of unit/ share nothing and run on every core; of the others two files at a time, each worker with services of
# its own. Those with load or real time of their own have the machine to themselves; those of the page share one server.
test: $(READY)
	$(BIN)/python -m pytest tests/unit -n auto
	$(BIN)/python -m pytest --ignore=tests/unit -m "not alone and not browser" -n 2 --dist loadfile
	$(BIN)/python -m pytest --ignore=tests/unit -m "alone or browser"

unit: $(READY)
	$(BIN)/python -m pytest tests/unit tests/test_architecture.py tests/test_docs.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint
	$(BIN)/python -m pytest -q tests/unit tests/test_architecture.py tests/test_docs.py

bench: $(READY)
	$(BIN)/python -m bench

# atheris has no wheel for every Python: without it the property tests run longer instead.
fuzz: $(READY)
	@$(BIN)/pip install --quiet --disable-pip-version-check --only-binary :all: atheris || true
	$(BIN)/python -m tests.fuzz $(SECONDS)

# ONLY: kills, outage or memory, with their options; see docs/howto/operate.md.
soak: $(READY)
	$(BIN)/python -m tests.chaos $(ONLY)

docs: $(READY)
	$(BIN)/python -m docs.make

# Needs uv; writes every dependency of every platform with its hashes.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
		--custom-compile-command "make lock" --group pyproject.toml:dev pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache test-results
