# `make demo` installs Equipoise into .venv and runs the main job; `make test` runs the tests.
# Nothing is installed twice: the stamps in $(VENV) say what is there.

VENV ?= .venv
PYTHON ?= $(firstword $(foreach p,python3.13 python3.12 python3.11 python3,$(shell $(p) -c 'import sys; sys.version_info >= (3, 11) and print("$(p)")' 2>/dev/null)))
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check docs help

help:
	@echo "make demo    install, then simulate, analyse and report SILCAAT (silcaat-1/report.html)"
	@echo "make test    install with the test tools, then run the tests"
	@echo "make check   everything that must hold before a change is merged"
	@echo "make docs    build the documentation into site/"

demo: $(VENV)/.installed
	$(BIN)/equipoise run silcaat --force

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

docs: $(VENV)/.installed-dev
	$(BIN)/mkdocs build --strict

check:
	.ci/run

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found; name one with PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[pdf]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.installed
