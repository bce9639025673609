# Every target that a person calls has a `##` text; `make help` prints them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
STAMP := $(VENV)/.synced

-include make/*.mk

.PHONY: help
help: ## Print what each target does
	@grep -hE '^[a-zA-Z0-9_-]+:.*##' $(MAKEFILE_LIST) | sort -u | \
	  awk 'BEGIN {FS = ":.*## "} {printf "  %-18s %s\n", $$1, $$2}'

.PHONY: venv
venv: $(STAMP) ## Make .venv with everything that is needed to develop and test

$(STAMP): requirements/dev.txt pyproject.toml
	@echo "installing the locked dependencies into $(VENV) ..."
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@test -x $(PY) || python3 -m venv $(VENV)
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip -q
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(PY) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: lock
lock: venv ## Write requirements/*.txt anew from pyproject.toml
	$(UV) pip compile -q --generate-hashes --python-version 3.11 --no-emit-index-url \
	  --custom-compile-command "make lock" --extra operator --extra runner --group dev pyproject.toml -o requirements/dev.txt
	@echo "the images get the versions that the tests ran with"
	for extra in operator runner; do \
	  $(UV) pip compile -q --generate-hashes --python-version 3.11 --no-emit-index-url \
	    -c requirements/dev.txt --custom-compile-command "make lock" --extra $$extra pyproject.toml -o requirements/$$extra.txt; \
	done
	$(UV) pip compile -q --generate-hashes --python-version 3.11 --no-emit-index-url \
	  -c requirements/dev.txt --custom-compile-command "make lock" requirements/dask-kubernetes.in \
	  -o requirements/dask-kubernetes.txt
	$(UV) pip compile -q --generate-hashes --python-version 3.11 --no-emit-index-url \
	  --custom-compile-command "make lock" requirements/tpc.in -o requirements/tpc.txt
	$(UV) pip compile -q --generate-hashes --python-version 3.11 --no-emit-index-url \
	  --custom-compile-command "make lock" requirements/duckdb-iceberg.in -o requirements/duckdb-iceberg.txt

.PHONY: lock-releases
lock-releases: venv ## Write requirements/releases/* anew from tools/lock_releases.py; RELEASES="26.04 26.10" for some
	$(PY) -m tools.lock_releases $(RELEASES)

.PHONY: lint
lint: venv ## Style, types and layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) -m tools.generate --check
