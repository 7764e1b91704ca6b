# The commands people type. They use .venv, and .vot for the VOT toolkit, which is GPL and stays a process of its own.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.PHONY: install packages vot check test types tests docs size clean
BIN := .venv/bin
# Bytecode is kept although a container may say otherwise: the tests start hundreds of interpreters.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/.venv/bin:$(PATH)
PYTHON ?= python3
# A process a core, each of one thread; a file's tests stay in one, in the order of conftest.py.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q -n logical --dist loadfile --no-loadscope-reorder

install: ## everything that checks and tests need; no GPU is needed
	$(MAKE) -j vot packages
	$(BIN)/python tests/emulator/pycuda_wheel.py --install
	command -v chromium > /dev/null || echo "no chromium: the tests of the HTML report are skipped; apt-get install chromium"

# Side by side, for pip works on one core: the second builds PyCUDA meanwhile, which takes as long as all of the first.
# Not compiled: Python compiles the files that it imports, a tenth of them.
packages:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --no-compile torch==2.13.0
	$(BIN)/pip install -q --no-compile -e ".[test]" --config-settings editable_mode=strict

vot:
	$(PYTHON) -m venv .vot
	.vot/bin/python tests/emulator/pycuda_wheel.py
	.vot/bin/pip install -q --no-compile vot-toolkit==0.7.4 attributee==0.1.9

check: ## what to run before every commit: under two minutes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) -m "not slow" --durations=5

test: ## everything, as CI does
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) -j types tests

types:
	$(BIN)/mypy

tests:
	$(PYTEST) --durations=15

docs: ## the site, in build/site; every broken link stops it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

size: ## lines by folder, and the longest files and functions
	$(BIN)/python tests/size.py

clean:
	rm -rf build .venv .vot spcnet.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
