# The two commands of a newcomer: `make setup`, `make demo`.
SHELL := /bin/sh
.DEFAULT_GOAL := help

UV_VERSION := 0.9.7
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
WORKERS ?= 2
# For `make setup`: an interpreter of your choice. Without it the first one below that runs is taken.
PYTHON ?=
# A name may exist and not run (pyenv's shims do that), or be too new: so each is asked, not looked up.
FITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))

.PHONY: help setup test test-slow lint format demo bench up docs ci clean

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  \033[1m%-10s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with everything that is needed, pinned (quick the second time)
	@$(PY) -c 'import data_platform' && echo "ready: $(PY)"

$(READY): requirements.lock pyproject.toml
	@if ! $(PY) -c '$(FITS)' 2>/dev/null; then \
		for candidate in $(if $(PYTHON),"$(PYTHON)",python3.11 python3.12 python3 python /usr/bin/python3.11 /usr/bin/python3); do \
			if "$$candidate" -c '$(FITS)' >/dev/null 2>&1; then found=$$candidate; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "No Python 3.11 or 3.12 with venv and pip runs here$(if $(PYTHON), as $(PYTHON))." >&2; \
			echo "Install one (Debian: apt-get install python3.11-venv) and name it: make setup PYTHON=/path/to/python3.11" >&2; \
			exit 1; \
		fi; \
		echo "making $(VENV) with $$("$$found" --version) ($$found)"; \
		rm -rf $(VENV) && "$$found" -m venv $(VENV); \
	fi
	@$(PY) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@echo "installing $$(grep -c == requirements.lock) packages (1.5 GB on disk) ..."
	@$(PY) -m uv pip install --quiet --python $(PY) -r requirements.lock
	@$(PY) -m uv pip install --quiet --python $(PY) --no-deps --no-build-isolation -e .
	@touch $@

test: $(READY) ## Run the fast tests (some eight minutes on two cores)
	$(PY) -m pytest -m "not slow" -n $(WORKERS)

test-slow: $(READY) ## Run the slow tests: a whole Airflow, kills, large corpora
	$(PY) -m pytest -m slow -n $(WORKERS) --dist loadgroup

lint: $(READY) ## Check style, format and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(READY) ## Mend style and format where a machine can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

demo: $(READY) ## Migrate a made-up corpus in a real Airflow, prove it, do it twice (a few minutes)
	@$(PY) -m dev.demo

bench: $(READY) ## Measure against raw limits
	$(PY) -m benchmarks.run

up: $(READY) ## Start Airflow, PostgreSQL and a corpus on this machine, until Ctrl-C
	@$(PY) -m dev.up

docs: $(READY) ## Write the generated documents anew
	$(PY) -m dev.generate_docs

ci: ## Everything that has to pass before a change lands
	.ci/run

clean: ## Remove caches, reports and the local stack's state (not .venv)
	@if [ -x $(PY) ]; then $(PY) -m dev.state remove; fi
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build reports
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
