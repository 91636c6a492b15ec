# Everything a person does with the project. Needs python3 >= 3.11, pip's network, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# `make test ARGS="-k spool"`, `make flask ARGS="check"`
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run show flask test test-tools chaos bench bench-tools lint types format check clean

help: ## list what can be made (this)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/installed ## serve here; without S3_BUCKET an embedded S3 comes with it
	@$(BIN)/python deploy/local.py

show: $(VENV)/installed ## print the newest objects of what `make run` serves
	@$(BIN)/python deploy/local.py flask objects $(ARGS)

flask: $(VENV)/installed ## run a command of the service: make flask ARGS="receipt <id>"
	@$(BIN)/python deploy/local.py flask $(ARGS)

test: $(VENV)/installed ## run every test, with the short chaos; ARGS go to pytest
	$(BIN)/python -m pytest -n 3 $(ARGS)

NODE := tests/acceptance/clients/node
# Each command, and the package that has it where that has another name.
TEST_TOOLS := chromium curl openssl node:nodejs npm

test-tools: ## install what tests use beside Python, on Debian and Ubuntu, as root
	@missing=; for tool in $(TEST_TOOLS); do \
	  command -v $${tool%:*} >/dev/null || missing="$$missing $${tool#*:}"; \
	done; \
	[ -z "$$missing" ] || { apt-get -qq update && \
	  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing; }
	@$(MAKE) --no-print-directory $(NODE)/node_modules/.package-lock.json

# npm's own record of what it has installed.
$(NODE)/node_modules/.package-lock.json: $(NODE)/package-lock.json
	npm ci --prefix $(NODE) --no-audit --no-fund --ignore-scripts

chaos: $(VENV)/installed ## crashes, outages, bad disks for minutes, then a table
	$(BIN)/python -m tests.chaos $(ARGS)

bench: $(VENV)/installed ## measure beside other designs; ARGS="--help" has the closer looks
	$(BIN)/python -m benchmarks $(ARGS)

bench-tools: ## install what the bench likes to have, on Debian and Ubuntu, as root
	apt-get install -y wrk nginx-light golang-go golang-github-aws-aws-sdk-go-dev

lint: $(VENV)/installed ## check the rules and the formatting (ruff)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

types: $(VENV)/installed ## check the types (mypy, strict)
	$(BIN)/python -m mypy

format: $(VENV)/installed ## format the code and mend what ruff can
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

check: lint types test ## lint, types and test

# The spool stays: payloads may be in it that no bucket has yet.
clean: ## remove the virtual environment and all caches, never the spool
	rm -rf $(VENV) $(NODE)/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is made anew when its Python or pip is missing or old. `--no-deps` installs what
# the lists say and nothing else; `pip check` then says if they forgot something.
$(VENV)/installed: requirements.txt requirements-dev.txt
	@$(BIN)/python -c 'import pip; $(IS_NEW)' 2>/dev/null || { $(MAKE_VENV); }
	@echo "Installing requirements-dev.txt into $(VENV), half a minute to two minutes the first time ..."
	@$(PIP) install --quiet --no-deps -r requirements-dev.txt
	@$(PIP) check
	@touch $@

PIP := $(BIN)/python -m pip --disable-pip-version-check
IS_NEW := import sys; sys.exit(sys.version_info < (3, 11))

define MAKE_VENV
$(PYTHON) -c '$(IS_NEW)' || { \
    echo "$(PYTHON) is missing or older than Python 3.11. Name another: make PYTHON=python3.12"; \
    exit 1; }; \
  rm -rf $(VENV); \
  $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || \
  $(PYTHON) -m virtualenv --quiet $(VENV) 2>/dev/null || { \
    rm -rf $(VENV); \
    echo "$(PYTHON) makes no virtual environment. On Debian and Ubuntu: apt install python3-venv"; \
    exit 1; }
endef
