# All that is done with this project. Needs python3 (3.11 or later) and GNU make; the rest is installed into .venv.

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/
STAMP := $(VENV)/.installed
DEMO_STAMP := $(VENV)/.installed-for-the-demo
START_METHODS ?= forkserver
EVERY_START_METHOD := forkserver,spawn,fork
PYTEST_ARGS ?=
# Tests wait more than they work: so many run at a time.
TESTS_AT_ONCE ?= 2
BENCH_ARGS ?=
MATRIX ?= 3.11 3.12 3.13 3.14

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format docs cov bench matrix matrix-one soak clean
.DELETE_ON_ERROR:

help:  ## this list
	@grep -hE '^[a-z-]+:.*  ## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*  ## /\t/' | expand -t 12

setup: $(STAMP)  ## a virtual environment with the package (editable) and every tool

# Both are made again only when the dependencies may have changed. The demo needs a tenth of what the tools need.
$(STAMP): $(DEMO_STAMP)
	$(RUN)python -m pip install --quiet --editable '.[dev]'
	@touch $@

$(DEMO_STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "actors needs Python 3.11 or later: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(RUN)python -m pip install --quiet --editable '.[cli]'
	@touch $@

demo: $(DEMO_STAMP)  ## count the words of the standard library while readers are being killed
	$(RUN)actors run examples/wordcount.py --chaos

test: $(STAMP)  ## every test, on this interpreter
	ACTORS_START_METHODS=$(START_METHODS) $(RUN)python -m pytest --numprocesses $(TESTS_AT_ONCE) $(PYTEST_ARGS)

check: $(STAMP)  ## lint, format, spelling, types, documentation
	$(RUN)ruff check .
	$(RUN)ruff format --check .
	$(RUN)codespell
	$(RUN)mypy
	$(RUN)pyright --pythonpath $(RUN)python --warnings
	$(RUN)python docs/generate.py --check

format: $(STAMP)  ## put the code into the one format, and fix what the linter can fix
	$(RUN)ruff check --fix-only .
	$(RUN)ruff format .

docs: $(STAMP)  ## write docs/reference and the states of a child anew from the code
	$(RUN)python docs/generate.py

cov: $(STAMP)  ## tests with branch coverage, children included; fails under the agreed number
	$(RUN)coverage erase
	ACTORS_START_METHODS=$(START_METHODS) $(RUN)coverage run -m pytest $(PYTEST_ARGS)
	$(RUN)coverage combine --quiet
	$(RUN)coverage report

bench: $(STAMP)  ## every benchmark beside its hand-written twin; BENCH_ARGS=--quick, --help
	$(RUN)python -m benchmarks $(BENCH_ARGS)

# One interpreter after the other, each in an environment of its own, all start methods in full.
matrix:  ## every test on every interpreter found here, under every start method
	@set -e; found=0; \
	for version in $(MATRIX); do \
	    python="python$$version"; \
	    if "$$python" -c '' 2>/dev/null; then \
	        found=$$((found + 1)); echo "== $$python"; \
	        $(MAKE) matrix-one PYTHON="$$python" VENV=".venv-$$version"; \
	    else \
	        echo "== $$python: not found, left out"; \
	    fi; \
	done; \
	test "$$found" -gt 0

matrix-one: $(STAMP)
	ACTORS_START_METHODS=$(EVERY_START_METHOD) $(RUN)python -m pytest --numprocesses $(TESTS_AT_ONCE) --hypothesis-profile=random $(PYTEST_ARGS)

soak: $(STAMP)  ## the long counts, under every start method
	ACTORS_SOAK=1 ACTORS_START_METHODS=$(EVERY_START_METHOD) $(RUN)python -m pytest --hypothesis-profile=random $(PYTEST_ARGS)

clean:  ## forget everything that was built, the environments too
	rm -rf $(VENV) .venv-* build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
