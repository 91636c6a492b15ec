# Everything a person does with the project. Needs python3 >= 3.11, pip's network, nothing else.

PYTHON ?= python3
VENV := .venv
# What a release and the tests of deploy/ need besides.
TOOLS := .venv-tools
BIN := $(VENV)/bin
# `make test ARGS="-k spool"`, `make flask ARGS="check"`
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run show s3-off s3-on flask test test-tools screenshots chaos bench bench-tools lint types format \
  check lock sbom image-check release clean debian-tools

help: ## list what can be made (this)
	@awk -F ':.*## ' '/^[a-z][a-z0-9 -]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/installed ## serve here; without S3_BUCKET an embedded S3 comes with it
	@$(BIN)/python deploy/local.py

show: $(VENV)/installed ## print the newest objects of what `make run` serves
	@$(BIN)/python deploy/local.py flask objects $(ARGS)

s3-off s3-on: $(VENV)/installed ## take the S3 of `make run` away, and bring it back
	@$(BIN)/python deploy/embedded_s3.py $(@:s3-%=%) $(or $(S3_PORT),9000)

flask: $(VENV)/installed ## run a command of the service: make flask ARGS="receipt <id>"
	@$(BIN)/python deploy/local.py flask $(ARGS)

# Each process starts in half the time where it finds what another has compiled.
test: $(VENV)/installed ## run every test, with the short chaos; ARGS go to pytest
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n auto $(ARGS)

NODE := tests/acceptance/clients/node
# Each command, and the package that has it where that has another name.
TEST_TOOLS := chromium curl openssl node:nodejs npm promtool:prometheus nginx:nginx-light \
  systemd-analyze:systemd

# `make -j` installs from the three registries at once; npm itself comes from the first.
test-tools: debian-tools $(TOOLS)/installed ## install what tests use besides, on Debian and Ubuntu, as root
	@$(MAKE) --no-print-directory $(NODE)/node_modules/.package-lock.json

debian-tools:
	@missing=; for tool in $(TEST_TOOLS); do \
	  command -v $${tool%:*} >/dev/null || missing="$$missing $${tool#*:}"; \
	done; \
	[ -z "$$missing" ] || { apt-get -qq update && \
	  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing; }
	@command -v valkey-server >/dev/null || $(INSTALL_VALKEY) || \
	  echo "No valkey-server: tests that need Redis 7.2 or newer are skipped, and fail with CI=true."

# Debian 12 has it in its backports only. What Redis 6.2 can do is tested with a server from PyPI.
BACKPORTS := /etc/apt/sources.list.d/bucket-brigade-backports.list
INSTALL_VALKEY = { . /etc/os-release; \
  apt-cache policy valkey-server | grep -q 'Candidate: [0-9]' || { \
    echo "deb http://deb.debian.org/debian $$VERSION_CODENAME-backports main" >$(BACKPORTS) && \
    apt-get -qq update || { rm -f $(BACKPORTS); false; }; } && \
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends valkey-server; }

# npm's own record of what it has installed.
$(NODE)/node_modules/.package-lock.json: $(NODE)/package-lock.json
	npm ci --prefix $(NODE) --no-audit --no-fund --ignore-scripts

screenshots: $(VENV)/installed ## take the pictures of docs/images/ anew, in two minutes
	SCREENSHOTS=docs/images $(BIN)/python -m pytest -q tests/acceptance/console -k screenshot

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

lock: $(TOOLS)/installed ## lock the lists of packages with hashes, after a change of one
	@for list in requirements requirements-redis requirements-terminal requirements-dev \
	    requirements-tools; do \
	  $(UV_COMPILE) --universal --python-version 3.11 --generate-hashes \
	    --custom-compile-command "make lock" --output-file $$list.lock $$list.txt || exit; \
	done
	@for python in 3.11 3.12 3.13 3.14; do for machine in x86_64 aarch64; do \
	  $(UV_COMPILE) --only-binary :all: --python-version $$python \
	    --python-platform $$machine-unknown-linux-gnu requirements.txt requirements-redis.txt \
	    >/dev/null || exit; \
	done; done
	@echo "requirements*.lock are made, with wheels for Python 3.11 to 3.14 on x86_64 and aarch64."

UV_COMPILE = $(TOOLS)/bin/uv pip compile --quiet --no-deps --no-annotate --no-strip-extras

VERSION = $(shell sed -n 's/^VERSION = "\(.*\)"/\1/p' app/version.py)
RELEASE = build/bucket-brigade-$(VERSION)
SBOM = build/.sbom

# From an environment with what the image has, and nothing else.
sbom: $(TOOLS)/installed ## list the service's packages as CycloneDX, in build/
	@rm -rf $(SBOM) && mkdir -p $(SBOM)
	@$(PYTHON) -m venv --without-pip $(SBOM)/venv
	@$(TOOLS)/bin/python -m pip --disable-pip-version-check --python $(SBOM)/venv/bin/python \
	  install --quiet --no-compile $(LOCKED) -r requirements.lock -r requirements-redis.lock
	@sed -e 's/^name = .*/&\nversion = "$(VERSION)"/' -e 's/^dynamic = ."version", /dynamic = [/' \
	  pyproject.toml >$(SBOM)/pyproject.toml
	@PYTHONWARNINGS=ignore $(TOOLS)/bin/cyclonedx-py environment $(SBOM)/venv/bin/python \
	  --pyproject $(SBOM)/pyproject.toml --output-reproducible -o $(RELEASE).cdx.json
	@rm -rf $(SBOM)
	@echo $(RELEASE).cdx.json

image-check: $(VENV)/installed ## build and run deploy/Dockerfile without an engine, on Debian, as root
	@deploy/check-image

release: sbom ## make the archive of HEAD, its SBOM and their checksums, in build/
	git archive --prefix=bucket-brigade-$(VERSION)/ -o $(RELEASE).tar.gz HEAD
	cd build && sha256sum bucket-brigade-$(VERSION).tar.gz bucket-brigade-$(VERSION).cdx.json \
	  >bucket-brigade-$(VERSION).sha256

# The spool stays: payloads may be in it that no bucket has yet.
clean: ## remove the virtual environments and all caches, never the spool
	rm -rf $(VENV) $(TOOLS) $(NODE)/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment is made anew when its Python or pip is missing or old. The locks are complete: with
# `--no-deps` nothing else comes, each file has one of their hashes, and `pip check` then says if
# they forgot a package. Without `--no-compile` pip would compile much that is never imported.
LOCKED = --no-deps --require-hashes

$(VENV)/installed: requirements-dev.lock
	@echo "Installing $< into $(@D), half a minute to two minutes the first time ..."
	@$(INSTALL)

$(TOOLS)/installed: requirements-tools.lock
	@echo "Installing $< into $(@D) ..."
	@$(INSTALL)

define INSTALL
$(@D)/bin/python -c 'import pip; $(IS_NEW)' 2>/dev/null || { $(MAKE_VENV); }; \
  $(PIP) install --quiet --no-compile $(LOCKED) -r $< && $(PIP) check && touch $@
endef

PIP = $(@D)/bin/python -m pip --disable-pip-version-check
IS_NEW := import sys; sys.exit(sys.version_info < (3, 11))

define MAKE_VENV
$(PYTHON) -c '$(IS_NEW)' || { \
    echo "$(PYTHON) is missing or older than Python 3.11. Name another: make PYTHON=python3.12"; \
    exit 1; }; \
  rm -rf $(@D); \
  $(PYTHON) -m venv $(@D) >/dev/null 2>&1 || \
  $(PYTHON) -m virtualenv --quiet $(@D) 2>/dev/null || { \
    rm -rf $(@D); \
    echo "$(PYTHON) makes no virtual environment. On Debian and Ubuntu: apt install python3-venv"; \
    exit 1; }
endef
