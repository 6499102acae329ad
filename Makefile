# Two commands do all the set-up: `make run` tries it, `make test` checks it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

ON_TWO_CORES := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help run test quick check lint types benchmark-engine clean

help:           ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

run: $(VENV)/.installed  ## install, then tune an MLP on built-in data with live progress
	$(BIN)/hpo run --study mlp

test: $(VENV)/.developed  ## install, then run all tests
	$(BIN)/python -m pytest $(ON_TWO_CORES)

quick: $(VENV)/.developed  ## run what takes two minutes, while working
	$(BIN)/python -m pytest $(ON_TWO_CORES) --quick

check: lint types test  ## everything that must hold before a commit

lint: $(VENV)/.developed  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.developed  ## mypy --strict
	$(BIN)/mypy

benchmark-engine: $(VENV)/.developed  ## share of this core's sgemm rate that training reaches
	$(BIN)/python benchmarks/engine.py

clean:          ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.developed: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
