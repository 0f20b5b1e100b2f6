# Everything people run, and everything CI runs. `make` alone lists it.

PYTHON ?= python3
UPSTREAM ?=
ARGS ?=
# Tests wait for processes more than they compute: two at a time fit two cores. 0 = one after the other.
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
CODE := $(wildcard sidecar tests bench examples charts audit)

.DEFAULT_GOAL := help
.PHONY: help setup run test compiled check audit format charts bench fuzz soak clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.dev ## install everything into .venv (the other targets do it by themselves)

run: $(VENV)/.dev ## run the demo, or the proxy: make run UPSTREAM=http://127.0.0.1:8080 [ARGS=...]
	@$(BIN)/sidecar $(if $(UPSTREAM),run --upstream $(UPSTREAM),demo) $(ARGS)

test: $(VENV)/.dev ## run the tests, but for those of `make compiled`: make test [ARGS='-k drain']
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --ignore tests/image $(ARGS)

compiled: $(VENV)/.compiled ## run the tests of the wire against the compiled program, and those of the image
	@PROXY_PYTHON=$(CURDIR)/$(VENV)/compiled/bin/python $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile \
		tests/image tests/conformance/test_cases.py tests/wire $(ARGS)

check: $(VENV)/.dev $(VENV)/.audit ## lint, formatting, types and what the dependencies are known for
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy $(CODE)
	@$(BIN)/python examples/go/gobuild.py vet
	@$(BIN)/python -m audit

audit: $(VENV)/.audit ## ask the advisory database about every dependency; fails where it cannot be asked
	@$(BIN)/python -m audit --online

format: $(VENV)/.dev ## put the code into the form that `make check` wants
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

charts: $(VENV)/.dev ## check chart, image and alerts, each check named: make charts [ARGS=...]
	@$(BIN)/python -m pytest -v -n $(WORKERS) --dist loadfile tests/charts tests/image tests/monitoring $(ARGS)

bench: $(VENV)/.bench ## measure what a request costs, beside other proxies: make bench [ARGS=...]
	@$(BIN)/python -m bench $(ARGS)

fuzz: $(VENV)/.fuzz ## look for inputs that break the wire format: make fuzz [ARGS='--seconds 60 chunks']
	@$(BIN)/python -m tests.fuzz $(ARGS)

soak: $(VENV)/.dev ## all kinds of load and trouble for ten minutes: make soak [ARGS='--seconds 60']
	@$(BIN)/python -m tests.load.soak $(ARGS)

clean: ## remove .venv, caches and what was built
	@rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# The stamps make a second run need no network.
$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo 'Installing into $(VENV) (once) ...'
	@$(PIP) install --editable '.[dev]'
	@touch $@

# pip-audit brings thirty packages: in an environment of their own they change nothing that is tested or measured.
$(VENV)/.audit: pyproject.toml $(VENV)/.dev
	@$(PYTHON) -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip --disable-pip-version-check -qq install 'pip-audit>=2.9'
	@touch $@

# As the image has it; see pyproject.toml. From a copy, as what was compiled stays beside its source, and wins.
$(VENV)/.compiled: pyproject.toml $(shell find sidecar -name '*.py') $(VENV)/.dev
	@echo 'Compiling into $(VENV)/compiled ...'
	@rm -rf $(VENV)/compiled && $(PYTHON) -m venv $(VENV)/compiled
	@mkdir $(VENV)/compiled/source && cp -r pyproject.toml README.md LICENSE sidecar $(VENV)/compiled/source
	@HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(VENV)/compiled/bin/python -m pip --disable-pip-version-check -qq install \
		'$(VENV)/compiled/source[redis]'
	@touch $@

$(VENV)/.bench: pyproject.toml $(VENV)/.dev $(VENV)/.compiled
	@$(PIP) install --editable '.[dev,bench]'
	@touch $@

$(VENV)/.fuzz: pyproject.toml $(VENV)/.dev
	@$(PIP) install --editable '.[dev,fuzz]' 2>$(VENV)/fuzz.log || \
		echo 'atheris does not install on this Python ($(VENV)/fuzz.log says why).'
	@touch $@
