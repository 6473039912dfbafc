# Every target sets up what it needs: `make quickstart` and `make test` work in a fresh clone.
#
#   PYTHON=python3.12 make …   another interpreter (3.11 or newer)
#   VENV=/path make …          another place for the virtual environment
#   WORKERS=1 make test         tests one after the other
#   PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL: as pip knows them; on a machine without a GPU point one of them at a
#   CPU build of torch, which saves some gigabytes.

SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TESTS ?= tests
# Processes that run tests at the same time; a file's tests stay in one process.
WORKERS ?= $(shell n=$$(nproc); echo $$(( n > 4 ? 4 : n )))
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
# What one process of a test may use; more threads than cores make small models several times slower.
export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1

.PHONY: quickstart test test-full bench lint install install-test system-test clean-venv

quickstart: $(VENV)/.ready-train
	$(BIN)/manager sweep sweeps/quickstart.yaml

test: $(VENV)/.ready-test lint system-test
	$(PYTEST) -m "not slow and not gpu" $(TESTS)

test-full: $(VENV)/.ready-test lint system-test
	$(PYTEST) $(TESTS)

bench: $(VENV)/.ready-test system-test
	for file in tests/bench/bench_*.py; do echo "== $$file"; $(BIN)/python -m tests.bench.$$(basename $$file .py) || exit 1; done

lint: $(VENV)/.ready-test
	$(BIN)/ruff check .
	$(BIN)/mypy

install: $(VENV)/.ready-train

# Programs that tests use. Installed where this is root and apt is there; else told, and their tests skip.
system-test:
	tests/system-packages

# ---- the virtual environment, made again whenever pyproject.toml changes ----

$(BIN)/python:
	.ci/make-venv "$(PYTHON)" "$(VENV)"

$(VENV)/.ready-train: pyproject.toml .ci/install | $(BIN)/python
	.ci/install "$(VENV)" train
	touch $@

$(VENV)/.ready-test: pyproject.toml .ci/install | $(BIN)/python
	.ci/install "$(VENV)" train test postgres vllm
	touch $@ $(VENV)/.ready-train

clean-venv:
	rm -rf $(VENV)
