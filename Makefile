# Everything starts from a bare machine with python3 and make:
#
#   make run     set up, then hold a simulated phone call in two turns, offline
#   make test    set up, then run all tests (real programs that are missing are skipped by name)
#   make check   ruff, mypy --strict and the tests
#   make bench   CPU time per relayed frame, beside nginx, HAProxy, aiohttp and websockets; calls; turns
#   make faults  run the fault laboratory and write docs/faults.md

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: run test lint check format bench faults clean

run: $(READY)
	$(BIN)/hopscope up --demo

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python -m bench $(BENCH)

faults: $(READY)
	PYTHONPATH=tests $(BIN)/python -m ingress.faults.fault_lab table docs/faults.md

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# pip learned dependency groups in 25.1.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev --editable '.[offline]'
	touch $@
